"""Broken variants of our own pipeline: the comparison with sentence-transformers catches each, and none is served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose
from tokenizers import Tokenizer, normalizers

from errors import ModelUnavailableError, UnsupportedModelError
from importing.conversion import inspect
from importing.verify import verify
from models.facts import REFERENCE
from models.store import ModelStore, StoredModel
from runners.backends import torch as torch_backend
from runners.backends.batches import PaddedBatch
from runners.contracts import TokenSequence
from runners.text.pairs import CrossPairs
from tests.integration.architectures.reference import TEXTS, reference_for
from tests.integration.architectures.workshop import SETTINGS, Model, Workshop, import_folder, served
from tests.tiny.layout import write_json
from tests.tolerance import scaled

Break = Callable[[Model, Path], StoredModel]


def facts(**changes: Any) -> Break:
    """Change facts of the import."""
    return lambda model, _: replace(model.stored, facts=model.stored.facts.model_copy(update=changes))


def config(**changes: Any) -> Break:
    """Change keys of the converted config.json; the repository's own stays."""

    def change(model: Model, work: Path) -> StoredModel:
        folder = shutil.copytree(model.stored.folder, work / "copy")
        content = json.loads((folder / "config.json").read_text())
        assert set(changes) <= set(content)
        (folder / "config.json").unlink()  # it may be a hard link
        write_json(folder / "config.json", content | changes)
        return replace(model.stored, folder=folder)

    return change


def letter_case(model: Model, work: Path) -> StoredModel:
    """Remove the lower-casing from the converted tokenizer.json."""
    folder = shutil.copytree(model.stored.folder, work / "copy")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.NFKC()
    (folder / "tokenizer.json").unlink()
    tokenizer.save(str(folder / "tokenizer.json"))
    return replace(model.stored, folder=folder)


VARIANTS: dict[str, tuple[str, Break]] = {
    "wrong pooling": ("all-minilm-l6-v2", facts(pooling="cls")),
    "lost Dense layers": ("embeddinggemma-300m", facts(dense=())),
    "lost token types": ("ms-marco-minilm-l-6-v2", facts(token_type_ids=False)),
    "tanh-GELU": ("bge-base-en-v1.5", config(hidden_act="gelu_pytorch_tanh")),
    "wrong RoPE theta": ("gte-modernbert-base", config(global_rope_theta=10_000.0)),
    "truncation at 511": ("e5-base", facts(max_tokens=511)),
    "lost lower-casing": ("luke-japanese-base", letter_case),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_caught(variant: str, workshop: Workshop, tmp_path: Path) -> None:
    name, broken = VARIANTS[variant]
    model = workshop.model(name)
    stored = broken(model, tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"differs from sentence-transformers|fails on a short text"):
        verify(model.spec, stored, SETTINGS)


def test_a_lost_prompt_is_refused(workshop: Workshop) -> None:
    """sentence-transformers would not help: the prompt comes from the catalogue."""
    model = workshop.model("mxbai-embed-large")
    with pytest.raises(ModelUnavailableError, match="defines another prompt 'query'"):
        verify(model.spec.model_copy(update={"prompts": {}}), model.stored, SETTINGS)


def test_left_padding_is_caught(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    class LeftPadded(PaddedBatch):
        def arrays(self) -> list[Any]:
            lengths = self.attention_mask.sum(1)
            for array in (right := super().arrays()):
                for row, length in zip(array, lengths, strict=True):
                    row[:] = [*row[length:], *row[:length]]
            return right

    model = workshop.model("all-minilm-l6-v2")
    monkeypatch.setattr(torch_backend, "PaddedBatch", LeftPadded)
    with pytest.raises(UnsupportedModelError, match="vectors differ"):
        verify(model.spec, model.stored, SETTINGS)


def test_swapped_query_and_document_are_caught(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    right = CrossPairs._sequence

    def swapped(self: CrossPairs, query: list[int], document: list[int]) -> TokenSequence:
        return right(self, document, query)

    model = workshop.model("bge-reranker-base")
    monkeypatch.setattr(CrossPairs, "_sequence", swapped)
    with pytest.raises(UnsupportedModelError, match="instead of"):
        verify(model.spec, model.stored, SETTINGS)


async def test_what_our_pipeline_gets_wrong_is_run_by_sentence_transformers(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inspect, "_pooling", lambda *_: "cls")
    model = workshop.model("all-minilm-l6-v2")
    stored = import_folder(model.spec, model.original, ModelStore(tmp_path))
    assert stored.facts.engine == "sentence-transformers"
    assert "differs from sentence-transformers: dense vectors differ" in stored.facts.engine_reason
    assert "is run by sentence-transformers, which is slower" in caplog.text
    got = await served(Model(model.spec, model.original, stored), TEXTS)
    expected = reference_for(model.spec, model.original).numbers(TEXTS, 256)
    assert_allclose(got, expected, rtol=0, atol=scaled(expected))


def test_a_tokenizer_class_that_builds_another_tokenizer_is_not_the_reference(workshop: Workshop) -> None:
    """transformers obeys ruri-v3's `tokenizer_class: LlamaTokenizer`, whose ids differ from those of tokenizer.json."""
    model = workshop.model("ruri-v3-30m")
    assert model.stored.facts.engine == "own"
    verification = model.stored.facts.verification
    assert verification is not None
    assert verification.lowest_cosine is not None
    settings = json.loads((model.stored.folder / REFERENCE / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "LlamaTokenizer"
