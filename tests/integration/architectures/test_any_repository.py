"""A repository is imported by its name alone from a Hub, and gives the numbers of sentence-transformers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose
from sentence_transformers import CrossEncoder, SentenceTransformer

from errors import InvalidRequestError, ModelUnavailableError
from importing.importer import import_model
from importing.verify import verify
from models.catalog import Catalog, ModelSpec, Pooling
from models.prompts import choose_prompt
from models.store import ModelStore, StoredModel
from runners.backends.sentence_transformers import tokenizing_model
from runners.contracts import EmbeddingOptions, RerankOptions
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.loading import load_model
from runners.rerank import RerankRunner
from runners.text.sentences import SentenceTokenizer
from settings import Settings
from tests import tiny
from tests.hub_server import HubServer, hub_alone
from tests.integration.architectures.workshop import DEVICE, QUERY, SETTINGS, Workshop
from tests.tiny import corpus, sentence_modules
from tests.tolerance import FLOAT32, scaled

LONG = " ".join(corpus.ENGLISH) * 2
TEXTS = [*corpus.ENGLISH[:6], "a red planet", LONG]
EMBEDDERS = [kind for kind in sentence_modules.KINDS if kind not in ("ModularReranker", "LogitScore")]
RERANKERS = ["ModularReranker", "LogitScore"]
OWN = {"minilm": "sentence-transformers/all-MiniLM-L6-v2", "reranker": "cross-encoder/ms-marco-MiniLM-L6-v2"}
BARE = {"bert": OWN["minilm"], "m3": "BAAI/bge-m3"}
SENTENCE_FILES = ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
"""What a checkpoint lacks that transformers or FlagEmbedding wrote."""


@dataclass(frozen=True)
class Imported:
    """A model that was imported by name."""

    spec: ModelSpec
    stored: StoredModel
    original: Path

    def load(self) -> LoadedModel:
        """The served model."""
        return load_model(self.spec, self.stored, DEVICE, SETTINGS, measure=False)


class Importer:
    """Publishes repositories on a Hub, and imports them."""

    def __init__(self, hub: HubServer, factory: pytest.TempPathFactory) -> None:
        self._hub = hub
        self._work = factory.mktemp("repositories")
        self._done: dict[tuple[str, Pooling | None], Imported] = {}

    def __call__(self, kind: str, pooling: Pooling | None = None) -> Imported:
        """Import by the name alone, or with a pooling from the catalogue."""
        if (kind, pooling) not in self._done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                folder = self._build(kind)
            self._hub.add(f"acme/Tiny-{kind}", folder)
            store = ModelStore(self._work / f"home-{kind}-{pooling}")
            settings = Settings(hf_endpoint=self._hub.endpoint, backend="torch")
            wanted = Catalog([]).get_or_unlisted(f"acme/Tiny-{kind}")
            if pooling is not None:
                wanted = ModelSpec(name=f"tiny-{kind}", repo=wanted.repo, kind="embedding", pooling=pooling)
            stored = import_model(wanted, store=store, settings=settings, progress=lambda *_: None)
            spec = wanted if pooling is not None else Catalog([], store.blocks).get(f"tiny-{kind}")
            self._done[kind, pooling] = Imported(spec, stored, folder)
        return self._done[kind, pooling]

    def _build(self, kind: str) -> Path:
        folder = self._work / kind
        if kind in BARE:
            tiny.build(BARE[kind], folder)
            for name in SENTENCE_FILES:
                (folder / name).unlink(missing_ok=True)
            return folder
        return tiny.build(OWN[kind], folder) if kind in OWN else sentence_modules.build(kind, folder)


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Importer]:
    with hub_alone() as hub:
        yield Importer(hub, tmp_path_factory)


def reference(kind: type[Any], folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


@pytest.mark.parametrize("kind", EMBEDDERS)
async def test_an_embedder_gives_the_numbers_of_sentence_transformers(kind: str, importer: Importer) -> None:
    imported = importer(kind)
    own = kind in ("LayerNorm", "Residual")
    assert imported.stored.facts.engine == ("own" if own else "sentence-transformers")
    verification = imported.stored.facts.verification
    assert verification is not None
    assert verification.lowest_cosine is not None
    assert verification.lowest_cosine > 1 - 1e-9
    model: SentenceTransformer = reference(SentenceTransformer, imported.original)
    loaded = imported.load()
    try:
        assert isinstance(loaded.runner, EmbeddingRunner)
        for side, encode in (("query", model.encode_query), ("document", model.encode_document)):
            prompt = choose_prompt(imported.spec, input_type=side)
            result = await loaded.runner.embed(TEXTS, EmbeddingOptions(normalized=False), prompt=prompt)
            expected = encode(TEXTS, show_progress_bar=False)
            assert_allclose(result.dense, expected, rtol=0, atol=scaled(expected))
        if kind != "Router":
            result = await loaded.runner.embed(TEXTS[::-1], prompt=choose_prompt(imported.spec))
            expected = model.encode(TEXTS[::-1], normalize_embeddings=True, show_progress_bar=False)
            assert_allclose(result.dense, expected, rtol=0, atol=FLOAT32)
    finally:
        loaded.close()


@pytest.mark.parametrize(
    ("kind", "chosen", "pooling"), [("bert", None, "mean"), ("bert", "cls", "cls"), ("m3", None, "cls")]
)
async def test_a_bare_encoder_is_pooled_by_its_kind_or_by_the_catalogue(
    kind: str, chosen: Pooling | None, pooling: Pooling, importer: Importer
) -> None:
    """FlagEmbedding's models with several outputs pool the first token."""
    imported = importer(kind, pooling=chosen)
    encoder: Any = transformers.AutoModel.from_pretrained(imported.original, dtype=torch.float32)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(imported.original)
    loaded = imported.load()
    try:
        assert isinstance(loaded.runner, EmbeddingRunner)
        result = await loaded.runner.embed(corpus.ENGLISH[:4])
    finally:
        loaded.close()
    for text, found in zip(corpus.ENGLISH[:4], result.dense, strict=True):
        with torch.no_grad():
            states = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states[0] if pooling == "cls" else states.mean(dim=0), dim=0)
        assert_allclose(found, expected.numpy(), rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("kind", RERANKERS)
async def test_a_reranker_gives_the_numbers_of_sentence_transformers(kind: str, importer: Importer) -> None:
    imported = importer(kind)
    assert imported.spec.kind == "reranker"
    model: CrossEncoder = reference(CrossEncoder, imported.original)
    loaded = imported.load()
    try:
        assert isinstance(loaded.runner, RerankRunner)
        result = await loaded.runner.rerank(QUERY, TEXTS)
        pairs = [(QUERY, text) for text in TEXTS]
        expected = model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        assert_allclose(result.raw, expected, rtol=0, atol=scaled(expected))
        short = await loaded.runner.rerank(QUERY, [LONG], RerankOptions(max_document_tokens=5))
        assert [(cut.kept, cut.by) for cut in short.truncated] == [(5, "request")]
    finally:
        loaded.close()


async def test_truncation_and_counts_are_reported(importer: Importer) -> None:
    imported = importer("MaxPooling")
    model: SentenceTransformer = reference(SentenceTransformer, imported.original)
    whole = {"text": {"truncation": False}}
    tokens = int(model.preprocess([LONG], processing_kwargs=whole)["attention_mask"].sum())
    loaded = imported.load()
    try:
        assert isinstance(loaded.runner, EmbeddingRunner)
        result = await loaded.runner.embed([LONG, "Mars"])
        assert [(cut.index, cut.tokens, cut.kept) for cut in result.truncated] == [(0, tokens, 64)]
        counts = [int(model.preprocess([text])["attention_mask"].sum()) for text in (LONG, "Mars")]
        assert result.prompt_tokens == sum(counts)
        model.tokenizer.truncation_side = "left"
        result = await loaded.runner.embed([LONG], EmbeddingOptions(truncate="start"))
        expected = model.encode([LONG], normalize_embeddings=True, show_progress_bar=False)
        assert_allclose(result.dense, expected, rtol=0, atol=FLOAT32)
        assert loaded.engine is not None
        listed = loaded.engine.tokenizer.tokens("Mars")
        assert [token.text for token in listed if token.special] == ["[CLS]", "[SEP]"]
        assert loaded.engine.tokenizer.count(["Mars"]) == [len(listed)]
        with pytest.raises(InvalidRequestError, match="takes no token ids"):
            await loaded.runner.embed([(1, 2, 3)])
    finally:
        loaded.close()


async def test_a_router_needs_a_side(importer: Importer) -> None:
    loaded = importer("Router").load()
    try:
        assert isinstance(loaded.runner, EmbeddingRunner)
        with pytest.raises(InvalidRequestError, match="Set input_type to query or document"):
            await loaded.runner.embed(["Mars"])
    finally:
        loaded.close()


def test_a_tokenizer_without_its_backend_has_no_weights(importer: Importer) -> None:
    """A process that only tokenizes keeps no network in memory."""
    imported = importer("MaxPooling")
    model = tokenizing_model(imported.stored.folder, imported.spec)
    assert {parameter.device.type for parameter in model.model.parameters()} == {"meta"}
    tokenizer = SentenceTokenizer(model, imported.stored.facts, 2**20)
    loaded = imported.load()
    try:
        assert loaded.engine is not None
        assert tokenizer.encode_texts(TEXTS) == loaded.engine.tokenizer.encode_texts(TEXTS)
    finally:
        loaded.close()


@pytest.mark.parametrize(("kind", "model_kind"), [("minilm", "embedding"), ("reranker", "reranker")])
async def test_supported_repositories_run_on_the_own_engine(kind: str, model_kind: str, importer: Importer) -> None:
    imported = importer(kind)
    facts = imported.stored.facts
    assert (imported.spec.kind, facts.engine, facts.engine_reason) == (model_kind, "own", "")
    assert facts.verification is not None
    assert facts.verification.by.startswith("sentence-transformers ")
    assert facts.verification.texts >= 30
    again = verify(imported.spec, imported.stored, SETTINGS)
    assert again.lowest_cosine == facts.verification.lowest_cosine or kind == "reranker"


def test_the_block_comes_from_the_repository(importer: Importer) -> None:
    spec = importer("LayerNorm").spec
    assert (spec.name, spec.repo, spec.kind) == ("Tiny-LayerNorm", "acme/Tiny-LayerNorm", "embedding")
    assert spec.prompts == sentence_modules.PROMPTS
    assert (spec.license, spec.commercial, spec.languages) == ("apache-2.0", True, ("en", "ja"))


def test_missing_weights_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    """sentence-transformers would use random ones, which differ between two loads."""
    folder = sentence_modules.build("MaxPooling", tmp_path / "checkpoint")
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if "layer.1.output.dense.weight" not in name}
    assert len(kept) == len(state) - 1
    (folder / "model.safetensors").unlink()
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    spec = Catalog([]).get_or_unlisted("acme/Incomplete")
    store = ModelStore(tmp_path / "home")
    with pytest.raises(ModelUnavailableError, match="Its weights are incomplete"):
        import_model(spec, store=store, settings=SETTINGS, progress=lambda *_: None, from_dir=folder)
    assert store.list() == []
    assert np.isfinite(kept["encoder.layer.0.output.dense.weight"].numpy()).all()


def test_remote_code_is_not_run(tmp_path: Path) -> None:
    folder = sentence_modules.build("SiLU", tmp_path / "checkpoint")
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(
        modules.replace("sentence_transformers.base.modules.dense.Dense", "custom.Dense")
    )
    assert "custom.Dense" in (folder / "modules.json").read_text()
    (folder / "custom.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    spec = Catalog([]).get_or_unlisted("acme/Remote")
    with pytest.raises(ModelUnavailableError, match="needs remote code"):
        import_model(
            spec, store=ModelStore(tmp_path / "home"), settings=SETTINGS, progress=lambda *_: None, from_dir=folder
        )
    assert not (tmp_path / "ran").exists()
