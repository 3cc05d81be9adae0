"""The references cut and frame texts as published; tiny models are what their seed says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.references import last_token, nv_embed, reading
from tests.references.samples import INSTRUCTION, PAIRS, QUERY, TEXTS
from tests.tiny import e5_mistral as tiny_e5
from tests.tiny import gte_new as tiny_gte
from tests.tiny import jina_bert as tiny_jina_bert
from tests.tiny import jina_v2_flash as tiny_jina_v2
from tests.tiny import nv_embed as tiny_nv


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
