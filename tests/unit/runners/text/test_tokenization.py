"""TextTokenizer against transformers: the same ids, segments and cuts, for every length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from runners.contracts import Truncate, TruncatedInput
from runners.text.templates import read_template
from runners.text.truncation import longest_first
from tests.tiny import corpus
from tests.unit.fakes import LetterTokenizer, letters
from tests.unit.runners.text.conftest import LONG, TEXTS, Pair, each_limit, each_side


@each_limit
@each_side
def test_texts_get_the_ids_that_transformers_gives_them(pair: Pair, max_tokens: int, truncate: Truncate) -> None:
    sequences, cuts = pair.ours(max_tokens).encode_texts(TEXTS, truncate=truncate)
    for text, sequence in zip(TEXTS, sequences, strict=True):
        assert (sequence.input_ids, sequence.token_type_ids) == pair.theirs(text, None, max_tokens, truncate), text
    whole = [len(pair.whole(text)) for text in TEXTS]
    assert cuts == [TruncatedInput(i, tokens, max_tokens) for i, tokens in enumerate(whole) if tokens > max_tokens]


@each_limit
@each_side
def test_pairs_get_the_ids_that_transformers_gives_them(pair: Pair, max_tokens: int, truncate: Truncate) -> None:
    for query in ("a", corpus.ENGLISH[0], corpus.JAPANESE[1]):
        sequences, _ = pair.ours(max_tokens).encode_pairs(query, TEXTS, truncate=truncate)
        for text, sequence in zip(TEXTS, sequences, strict=True):
            assert (sequence.input_ids, sequence.token_type_ids) == pair.theirs(query, text, max_tokens, truncate), text


@each_side
@given(first=st.text(max_size=40), second=st.text(max_size=40), max_tokens=st.integers(5, 40))
def test_any_text_and_pair_get_them(pair: Pair, truncate: Truncate, first: str, second: str, max_tokens: int) -> None:
    ours = pair.ours(max_tokens)
    (text,), _ = ours.encode_texts([first], truncate=truncate)
    assert (text.input_ids, text.token_type_ids) == pair.theirs(first, None, max_tokens, truncate)
    (both,), cuts = ours.encode_pairs(first, [second], truncate=truncate)
    assert (both.input_ids, both.token_type_ids) == pair.theirs(first, second, max_tokens, truncate)
    whole, _ = pair.theirs(first, second, 10_000)
    assert cuts == ([TruncatedInput(0, len(whole), max_tokens)] if len(whole) > max_tokens else [])


WORDS = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
WORDS.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


@given(first=st.integers(0, 60), second=st.integers(0, 60), room=st.integers(1, 60))
@example(first=5, second=5, room=3)
def test_longest_first_is_the_rule_of_the_tokenizers_library(first: int, second: int, room: int) -> None:
    WORDS.enable_truncation(room, strategy="longest_first")
    kept = WORDS.encode(" ".join(["a"] * first), " ".join(["b"] * second)).tokens
    assert longest_first(first, second, room) == (kept.count("a"), kept.count("b"))


@pytest.mark.parametrize(
    ("kind", "truncate", "max_tokens"),
    [
        *((kind, "end", 512) for kind in LONG),
        ("blank, then words", "end", 8),
        *((kind, "start", 40) for kind in LONG),
    ],
)
def test_very_long_texts_are_cut_to_the_same_tokens(pair: Pair, kind: str, truncate: Truncate, max_tokens: int) -> None:
    text = LONG[kind]
    assert len(text) > 65_536
    ours = pair.ours(max_tokens)
    (sequence, short), cuts = ours.encode_texts([text, "a"], truncate=truncate)
    assert sequence.input_ids == pair.theirs(text, None, max_tokens, truncate)[0]
    assert short.input_ids == pair.theirs("a", None, max_tokens)[0]
    assert all(cut.index == 0 and cut.kept == max_tokens for cut in cuts)
    (both,), _ = ours.encode_pairs("what is it", [text], truncate=truncate)
    assert both.input_ids == pair.theirs("what is it", text, max_tokens, truncate)[0]


def test_a_long_text_is_reported_with_the_tokens_that_were_counted(pair: Pair) -> None:
    _, (cut,) = pair.ours(512).encode_texts([LONG["ordinary"]])
    assert not cut.exact
    assert 512 < cut.tokens <= len(pair.whole(LONG["ordinary"]))


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


def test_a_template_that_changes_the_text_is_refused() -> None:
    class Changing(LetterTokenizer):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            return [[1] for _ in texts]

        def probe(self, first: str, second: str | None) -> list[int]:
            return [2, 3]

    with pytest.raises(ValueError, match="template changes"):
        read_template(Changing(), closing=())
