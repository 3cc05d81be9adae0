"""Language models as rerankers whose prompt and answer tokens come from the repository, compared with CrossEncoder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.store import ModelStore
from tests.integration.architectures.reference import Reranker
from tests.integration.architectures.workshop import Model, Workshop, import_folder, served
from tests.tiny import corpus
from tests.tolerance import scaled

SPEC = ModelSpec(name="judge", repo="acme/judge", kind="reranker", max_tokens=512)
CONTENT = "{{{{ messages | selectattr('role', 'eq', '{}') | map(attribute='content') | first {}}}}}"
TEMPLATE = "<|im_start|>user\nQuery: {query}\nDocument: {document}\nAnswer 1 or 0.<|im_end|>\n<|im_start|>assistant\n"
TEXTS = ["Mars is red.", "?", "  blanks around  ", "火星は赤い惑星です。\n\n", *corpus.ENGLISH[:3]]
"""With line breaks and blanks, which the tokenizer may join with the prompt."""


def judge(workshop: Workshop, folder: Path, *, answers: Sequence[str] | None, trim: str = "") -> Path:
    """A checkpoint with a chat template for pairs; with answers, saved by sentence-transformers with a LogitScore."""
    shutil.copytree(workshop.original("mxbai-rerank-base-v2"), folder)
    query, document = (CONTENT.format(role, trim) for role in ("query", "document"))
    (folder / "chat_template.jinja").write_text(TEMPLATE.format(query=query, document=document), encoding="utf-8")
    if answers is None:
        return folder
    language_model = Transformer(str(folder), transformer_task="text-generation")
    score = LogitScore(*(language_model.tokenizer.convert_tokens_to_ids(answer) for answer in answers))
    saved = folder.with_name("saved")
    CrossEncoder(modules=[language_model, score], device="cpu").save_pretrained(str(saved), create_model_card=False)
    return saved


@pytest.mark.parametrize("answers", [("1", "0"), ("no", "yes"), ("Red",), None], ids=str)
async def test_scores_are_those_of_cross_encoder(
    answers: Sequence[str] | None, workshop: Workshop, tmp_path: Path
) -> None:
    folder = judge(workshop, tmp_path / "judge", answers=answers)
    stored = import_folder(SPEC, folder, ModelStore(tmp_path / "store"))
    got = await served(Model(SPEC, folder, stored), TEXTS)
    expected = Reranker(SPEC.repo, folder).numbers(TEXTS, 512)
    assert expected.std() > 0.1
    assert_allclose(got, expected, rtol=0, atol=scaled(expected))


def test_a_template_that_changes_the_texts_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    folder = judge(workshop, tmp_path / "judge", answers=("1", "0"), trim="| trim ")
    with pytest.raises(ModelUnavailableError, match="must be a classifier"):
        import_folder(SPEC, folder, ModelStore(tmp_path / "store"))


def test_logits_that_are_scaled_afterwards_are_computed_by_sentence_transformers(
    workshop: Workshop, tmp_path: Path
) -> None:
    folder = judge(workshop, tmp_path / "judge", answers=("1", "0"))
    path = folder / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"use_cache"', '"logit_scale": 0.5, "use_cache"'))
    stored = import_folder(SPEC, folder, ModelStore(tmp_path / "store"))
    assert stored.facts.engine == "sentence-transformers"
    assert "logit_scale in config.json is not supported" in stored.facts.engine_reason
