"""A PEFT adapter is imported by name, with its base model, and gives the numbers of the model that was trained.

Those are of sentence-transformers with PEFT before it saves the adapter: when transformers 5.23 loads a saved DoRA
adapter, it loses the magnitudes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from peft import LoraConfig
from sentence_transformers import CrossEncoder, SentenceTransformer

from errors import ModelUnavailableError
from importing.importer import import_model
from models.catalog import Catalog, ModelSpec
from models.store import ModelStore, StoredModel
from runners.contracts import Rows
from runners.embedding import EmbeddingRunner
from runners.loading import load_model
from runners.rerank import RerankRunner
from settings import Settings
from tests import tiny
from tests.hub_server import HubServer, hub_alone
from tests.integration.architectures.workshop import DEVICE, QUERY, SETTINGS
from tests.tiny import corpus
from tests.tolerance import FLOAT32, scaled

BERT, QWEN3, RERANKER = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "Qwen/Qwen3-Embedding-0.6B",
    "cross-encoder/ms-marco-MiniLM-L6-v2",
)
BASE, ADAPTER = "acme/Base", "acme/Tiny-Adapter"
TEXTS = corpus.ENGLISH[:5]
FLOAT = {"dtype": torch.float32}


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=16, **{"task_type": "FEATURE_EXTRACTION"} | options)


def shift(network: torch.nn.Module) -> None:
    """Change what an adapter trains; a new one changes nothing."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)


def embedder(original: str, config: LoraConfig) -> Callable[[Path, Path], Rows]:
    def write(base: Path, folder: Path) -> Rows:
        tiny.build(original, base)
        model = SentenceTransformer(str(base), device="cpu", model_kwargs=FLOAT)
        model.add_adapter(config)
        shift(model[0].auto_model)
        model.save(str(folder), create_model_card=False)
        rows: Rows = model.encode(TEXTS, show_progress_bar=False)
        return rows

    return write


def reranker(base: Path, folder: Path) -> Rows:
    tiny.build(RERANKER, base)
    model = CrossEncoder(str(base), device="cpu", model_kwargs=FLOAT)
    parts = {"target_modules": ["query", "value"], "modules_to_save": ["classifier"]}
    model.model.add_adapter(lora(task_type="SEQ_CLS", **parts))
    shift(model.model)
    model.save_pretrained(str(folder), create_model_card=False)
    pairs = [(QUERY, text) for text in TEXTS]
    scores: Rows = model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    return scores


WRITERS = {
    "LoRA": embedder(BERT, lora(target_modules=["query", "value", "dense"])),
    "DoRA": embedder(QWEN3, lora(target_modules=["q_proj", "down_proj"], use_dora=True, use_rslora=True)),
    "reranker": reranker,
}


class Shelf:
    """A Hub with a base model and an adapter, and a store."""

    def __init__(self, hub: HubServer, work: Path) -> None:
        self.base, self.adapter = work / "base", work / "adapter"
        self._hub = hub
        self._store = ModelStore(work / "home")
        self._settings = Settings(hf_endpoint=hub.endpoint, backend="torch")

    def write(self, kind: str) -> Rows:
        """The numbers of the trained model."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return WRITERS[kind](self.base, self.adapter)

    def set(self, **config: Any) -> None:
        """Change the adapter's settings."""
        path = self.adapter / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))

    def publish(self) -> Catalog:
        self._hub.add(BASE, self.base)
        self._hub.add(ADAPTER, self.adapter)
        return Catalog([], self._store.blocks)

    def import_adapter(self, catalog: Catalog) -> StoredModel:
        return self.import_spec(catalog.get_or_unlisted(ADAPTER))

    def import_spec(self, spec: ModelSpec) -> StoredModel:
        return import_model(spec, store=self._store, settings=self._settings, progress=lambda *_: None)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with hub_alone() as hub:
        yield Shelf(hub, tmp_path)


@pytest.mark.parametrize("kind", WRITERS)
async def test_equal_to_the_trained_model(kind: str, shelf: Shelf) -> None:
    expected = shelf.write(kind)
    shelf.set(base_model_name_or_path=BASE)
    catalog = shelf.publish()
    stored = shelf.import_adapter(catalog)
    assert stored.facts.engine == "own"
    loaded = load_model(catalog.get(ADAPTER), stored, DEVICE, SETTINGS, measure=False)
    try:
        if kind == "reranker":
            assert isinstance(loaded.runner, RerankRunner)
            assert_allclose((await loaded.runner.rerank(QUERY, TEXTS)).raw, expected, rtol=0, atol=scaled(expected))
        else:
            assert isinstance(loaded.runner, EmbeddingRunner)
            assert_allclose((await loaded.runner.embed(TEXTS)).dense, expected, rtol=0, atol=FLOAT32)
    finally:
        loaded.close()


def test_a_folder_that_has_no_adapter(shelf: Shelf) -> None:
    shelf.write("LoRA")
    spec = shelf.publish().get_or_unlisted(f"{ADAPTER}/other")
    with pytest.raises(ModelUnavailableError, match="acme/Tiny-Adapter has no adapter 'other'"):
        shelf.import_spec(spec)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"base_model_name_or_path": "/etc"}, "names no repository as its base model"),
        ({"base_model_name_or_path": BASE, "revision": "v2"}, "must be a commit"),
        ({"base_model_name_or_path": "acme/missing"}, "acme/missing .* does not exist"),
        ({"base_model_name_or_path": BASE, "target_modules": ["key"]}, "do not fit the base model"),
        ({"base_model_name_or_path": BASE, "r": 2}, "size mismatch"),
    ],
)
def test_refused(config: dict[str, Any], reason: str, shelf: Shelf) -> None:
    shelf.write("LoRA")
    shelf.set(**config)
    with pytest.raises(ModelUnavailableError, match=reason):
        shelf.import_adapter(shelf.publish())
