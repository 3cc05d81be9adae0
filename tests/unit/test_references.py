"""The references hold what they promise: finite, spread, each text by itself, cut and framed as published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.references import gte_new, jina_bert, jina_v2_flash, last_token, nv_embed, reading
from tests.references.samples import INSTRUCTION, PAIRS, QUERY, TEXTS
from tests.tiny import e5_mistral as tiny_e5
from tests.tiny import gte_new as tiny_gte
from tests.tiny import jina_bert as tiny_jina_bert
from tests.tiny import jina_v2_flash as tiny_jina_v2
from tests.tiny import nv_embed as tiny_nv
from tests.tolerance import FLOAT64, scaled

Logits = Callable[[Path, list[tuple[str, str]], int], reading.Array]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every checkpoint with an architecture of its own, built once."""
    builders: dict[str, Callable[[Path, int], None]] = {}
    for module in (tiny_jina_v2, tiny_gte, tiny_jina_bert, tiny_nv, tiny_e5):
        builders |= module.BUILDERS
    root = tmp_path_factory.mktemp("originals")
    for name, build in builders.items():
        build(root / name, 3)
    return {name: root / name for name in builders}


@pytest.fixture(scope="module", params=["jina-v2", "gte", "jina-bert"])
def reranker(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[Logits, Path]:
    """One reranking reference and its checkpoint."""
    return {
        "jina-v2": (jina_v2_flash.logits, folders[tiny_jina_v2.NAME]),
        "gte": (gte_new.logits, folders[tiny_gte.RERANKER]),
        "jina-bert": (jina_bert.logits, folders[tiny_jina_bert.NAME]),
    }[request.param]


@pytest.fixture(scope="module", params=["gte", "nv-embed", "e5-mistral"])
def embedder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> tuple[Any, Path]:
    """One embedding reference and its checkpoint."""
    return {
        "gte": (gte_new.embeddings, folders[tiny_gte.EMBEDDER]),
        "nv-embed": (nv_embed.embeddings, folders[tiny_nv.NAME]),
        "e5-mistral": (last_token.embeddings, folders[tiny_e5.NAME]),
    }[request.param]


# ---- every reference -------------------------------------------------------------------------------------


def test_logits_are_finite_and_spread(reranker: tuple[Logits, Path]) -> None:
    logits, folder = reranker
    values = logits(folder, PAIRS, 512)
    assert values.shape == (len(PAIRS),)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 12
    assert values.std() > 0.5


def assert_same(found: Any, expected: Any) -> None:
    """As near as float64 allows."""
    assert_allclose(found, expected, rtol=0, atol=scaled(expected, FLOAT64))


def test_order_of_pairs_does_not_matter(reranker: tuple[Logits, Path]) -> None:
    logits, folder = reranker
    assert_same(logits(folder, PAIRS[::-1], 512)[::-1], logits(folder, PAIRS, 512))


def test_which_text_is_the_query_matters(reranker: tuple[Logits, Path]) -> None:
    logits, folder = reranker
    swapped = logits(folder, [(document, query) for query, document in PAIRS[:3]], 512)
    assert (np.abs(swapped - logits(folder, PAIRS[:3], 512)) > 1e-3).all()


def test_cut_pairs_score_as_their_beginnings(reranker: tuple[Logits, Path]) -> None:
    logits, folder = reranker
    long, longer = (QUERY, TEXTS[0] * 20), (QUERY, TEXTS[0] * 30)
    first, second = logits(folder, [long, longer], 64)
    assert_same(first, second)
    assert first != pytest.approx(logits(folder, [long], 512)[0])


def test_vectors_are_unit_and_apart(embedder: tuple[Any, Path]) -> None:
    embeddings, folder = embedder
    vectors = embeddings(folder, TEXTS, instruction=INSTRUCTION, max_tokens=512)
    assert vectors.shape == (len(TEXTS), 64)
    assert vectors.dtype == np.float64
    assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-12)
    cosines = vectors @ vectors.T
    assert (cosines[np.triu_indices(len(TEXTS), 1)] < 0.98).all()


def test_order_of_texts_does_not_matter(embedder: tuple[Any, Path]) -> None:
    embeddings, folder = embedder
    forth = embeddings(folder, TEXTS, instruction=INSTRUCTION, max_tokens=512)
    back = embeddings(folder, TEXTS[::-1], instruction=INSTRUCTION, max_tokens=512)[::-1]
    assert_same(back, forth)


def test_instruction_changes_the_vector(embedder: tuple[Any, Path]) -> None:
    embeddings, folder = embedder
    plain = embeddings(folder, TEXTS, max_tokens=512)
    asked = embeddings(folder, TEXTS, instruction=INSTRUCTION, max_tokens=512)
    assert (np.abs(plain - asked).max(axis=1) > 1e-3).all()


# ---- tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_tokens", [8, 9, 20, 21, 34, 35, 64])
def test_pairs_are_cut_as_the_fast_tokenizer_cuts(folders: dict[str, Path], max_tokens: int) -> None:
    for name in (tiny_jina_v2.NAME, tiny_jina_bert.NAME):
        ours, theirs = (Tokenizer.from_file(str(folders[name] / "tokenizer.json")) for _ in range(2))
        theirs.enable_truncation(max_tokens, strategy="longest_first")
        for query, document in [*PAIRS, *((document, query) for query, document in PAIRS), (QUERY, QUERY)]:
            expected = theirs.encode(query, document).ids
            assert reading.roberta_pair_ids(ours, (query, document), max_tokens) == expected


@pytest.mark.parametrize("name", [tiny_jina_v2.NAME, tiny_jina_bert.NAME, tiny_gte.RERANKER])
def test_pair_ids_equal_transformers(folders: dict[str, Path], name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folders[name], trust_remote_code=False)
    ours = reading.read_tokenizer(folders[name])
    for query, document in PAIRS:
        encoded = tokenizer(query, document, truncation="longest_first", max_length=30)["input_ids"]
        assert reading.roberta_pair_ids(ours, (query, document), 30) == encoded


def test_e5_mistral_ends_survive_the_cut(folders: dict[str, Path]) -> None:
    short, long = last_token.token_ids(folders[tiny_e5.NAME], ["Mars", TEXTS[0] * 9], 24)
    assert [short[0], short[-1]] == [long[0], long[-1]] == [1, 2]
    assert len(short) < 24 == len(long)


def test_nv_embed_leaves_out_exactly_its_template(folders: dict[str, Path]) -> None:
    """The count of the lone instruction, `<s>` left uncounted, is the place of the text's first token."""
    folder = folders[tiny_nv.NAME]
    skipped = nv_embed.instruction_tokens(folder, INSTRUCTION)
    with_it = nv_embed.token_ids(folder, ["Mars is red"], instruction=INSTRUCTION, max_tokens=512)[0]
    without = nv_embed.token_ids(folder, ["Mars is red"], instruction="", max_tokens=512)[0]
    assert with_it[skipped:] == without[1:]
    assert [with_it[0], with_it[-1]] == [without[0], without[-1]] == [1, 2]


# ---- the checkpoints -------------------------------------------------------------------------------------


def test_same_seed_same_bytes(folders: dict[str, Path], tmp_path: Path) -> None:
    for seed in (3, 4):
        tiny_jina_bert.build(tmp_path / str(seed), seed)
    built = folders[tiny_jina_bert.NAME]
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (built / file).read_bytes() == (tmp_path / "3" / file).read_bytes()
    assert (tmp_path / "3/model.safetensors").read_bytes() != (tmp_path / "4/model.safetensors").read_bytes()


def test_every_remote_code_file_raises(folders: dict[str, Path]) -> None:
    files = [file for folder in folders.values() for file in folder.rglob("*.py")]
    assert len(files) > 10
    for file in files:
        with pytest.raises(RuntimeError, match=file.name):
            exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), {})
