"""The tiny models of tests/tiny are models: they load with sentence-transformers and tell texts apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import tokenizers
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.tiny import bert, bert_japanese, build, corpus, deberta, gemma, luke, modernbert, mpnet, qwen3, xlm_roberta
from tests.tolerance import FLOAT32, scaled

FAMILIES = (bert, bert_japanese, deberta, gemma, luke, modernbert, mpnet, qwen3, xlm_roberta)
NAMES = sorted(name for family in FAMILIES for name in family.BUILDERS)
SEGMENTS = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
XLM_ROBERTA = {"tokenizer_type": "xlm-roberta"}
AS_STORED = {"tokenizer_type": "modernbert"}  # the class that takes tokenizer.json as it is
JAPANESE_RERANKERS = [name for name in bert_japanese.BUILDERS if name.startswith("hotchpotch/")]
FIXES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(JAPANESE_RERANKERS, SEGMENTS),
    **dict.fromkeys(luke.BUILDERS, XLM_ROBERTA),
    **dict.fromkeys(deberta.BUILDERS, AS_STORED),
}
"""What transformers 5.23 needs to read these tokenizers as they were trained (MODELS.md, section 1)."""
TEXTS = [*corpus.ENGLISH[:6], *corpus.JAPANESE[:6]]
PAIRS = [(corpus.ENGLISH[0], text) for text in corpus.ENGLISH[1:6]] + [
    (corpus.JAPANESE[1], text) for text in corpus.JAPANESE[2:7]
]

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module", params=NAMES)
def repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(full name, folder) of each model, built once."""
    return request.param, build(request.param, tmp_path_factory.mktemp("tiny"))


def architecture(folder: Path) -> str:
    """The class named in config.json."""
    name: str = json.loads((folder / "config.json").read_text())["architectures"][0]
    return name


def is_reranker(name: str, folder: Path) -> bool:
    """A classification head, or the one causal model that is read through yes and no."""
    return name == qwen3.RERANKER or architecture(folder).endswith("SequenceClassification")


def embed(name: str, folder: Path, texts: list[str]) -> Floats:
    """Unit vectors, (N, D)."""
    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, processor_kwargs=FIXES.get(name)
    )
    return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))


def score(folder: Path, pairs: list[tuple[str, str]], processor_kwargs: dict[str, Any] | None = None) -> Floats:
    """Raw logits, (N,)."""
    model = CrossEncoder(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, processor_kwargs=processor_kwargs
    )
    return np.asarray(model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False))


def test_loads_and_tells_texts_apart(repository: tuple[str, Path]) -> None:
    name, folder = repository
    if is_reranker(name, folder):
        scores = score(folder, PAIRS, FIXES.get(name))
        assert scores.shape == (len(PAIRS),)
        assert np.isfinite(scores).all()
        assert scores.std() > 0.3
        if name != qwen3.RERANKER:  # its scores are only sensible after its own prompt, below
            assert np.abs(scores).max() < 8
    else:
        vectors = embed(name, folder, TEXTS)
        cosines = vectors @ vectors.T - 2 * np.eye(len(TEXTS))
        assert np.isfinite(vectors).all()
        assert cosines.max() < 0.995


def test_every_tensor_finds_its_place(repository: tuple[str, Path]) -> None:
    name, folder = repository
    reads: Any = AutoModelForCausalLM if name == qwen3.RERANKER else AutoModel
    if architecture(folder).endswith("SequenceClassification"):
        reads = AutoModelForSequenceClassification
    _, report = reads.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_same_seed_same_weights(tmp_path: Path) -> None:
    first, again, other = (
        build("cl-nagoya/ruri-v3-30m", tmp_path / str(index), seed) / "model.safetensors"
        for index, seed in enumerate((0, 0, 1))
    )
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("name", JAPANESE_RERANKERS)
def test_lost_segments_change_japanese_scores(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path)
    assert np.abs(score(folder, PAIRS, SEGMENTS) - score(folder, PAIRS)).max() > 0.1


def test_luke_ids_follow_xlm_roberta(tmp_path: Path) -> None:
    name = luke.GLUCOSE
    folder = build(name, tmp_path)
    model = SentenceTransformer(str(folder), device="cpu", processor_kwargs=FIXES[name])
    reference = tokenizers.Tokenizer.from_file(str(build("BAAI/bge-m3", tmp_path / "m3") / "tokenizer.json"))
    text = "ＡＢＣ 日本の首都は東京です。"
    assert model.preprocess([text])["input_ids"][0].tolist() == reference.encode(text).ids


def test_deberta_folds_full_width_as_stored(tmp_path: Path) -> None:
    folder = build(deberta.NAME, tmp_path)
    pairs = [("Ｒｅｄ　Ｐｌａｎｅｔ", "ｶﾀｶﾅ １２３"), ("Red Planet", "カタカナ 123")]
    wide, narrow = score(folder, pairs, AS_STORED)
    assert wide == pytest.approx(narrow, abs=scaled(narrow))
    wide, narrow = score(folder, pairs)
    assert abs(wide - narrow) > 1e-3, "transformers reads the tokenizer right again: drop the fix"


def test_long_texts_fit_the_position_tables(tmp_path: Path) -> None:
    start = " ".join(corpus.ENGLISH * 4)
    texts = [start, f"{start} {' '.join(corpus.JAPANESE * 2)}"]
    cut = embed("x", build("intfloat/multilingual-e5-base", tmp_path / "e5"), texts)
    whole = embed("x", build("BAAI/bge-m3", tmp_path / "m3"), texts)
    assert np.allclose(cut[0], cut[1], rtol=0, atol=FLOAT32), "512 tokens end before the texts differ"
    assert not np.allclose(whole[0], whole[1], atol=1e-3), "8192 tokens reach beyond"


def test_qwen_reranker_answers_its_own_prompt(tmp_path: Path) -> None:
    folder = build(qwen3.RERANKER, tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    yes, no = (tokenizer.token_to_id(word) for word in ("yes", "no"))
    scores = []
    for query, document in PAIRS:
        ids = tokenizer.encode(qwen3.JUDGE.format(query=query, document=document)).ids
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        scores.append(float(logits[yes] - logits[no]))
    assert np.std(scores) > 0.3
    assert max(map(abs, scores)) < 6
    assert "lm_head.weight" not in safetensors.torch.load_file(folder / "model.safetensors")
