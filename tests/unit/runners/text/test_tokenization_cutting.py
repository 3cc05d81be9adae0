"""TextTokenizer beyond whole texts: cut prompts, a document's tokens, ids that the caller has made itself."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidRequestError
from runners.contracts import TruncatedInput
from tests.tiny import corpus
from tests.unit.fakes import letters
from tests.unit.runners.text.conftest import LONG, TEXTS, Japanese, Pair, each_limit, each_side


def test_refusing_cuts_nothing_else_than_the_end(pair: Pair) -> None:
    """The refusal itself is the engine's: it needs to know what would be cut."""
    ours = pair.ours(9)
    assert ours.encode_texts(TEXTS, truncate="refuse") == ours.encode_texts(TEXTS)
    assert ours.encode_pairs("a", TEXTS, truncate="refuse") == ours.encode_pairs("a", TEXTS)


def test_a_prompt_that_is_cut_off_leaves_less_to_leave_out_of_pooling() -> None:
    def unpooled(max_tokens: int, truncate: Any) -> tuple[list[int], int]:
        (sequence,), _ = letters(max_tokens, mask_prompt=True).encode_texts(["cde"], "ab", truncate)
        return sequence.input_ids, sequence.unpooled

    assert unpooled(7, "start") == ([100, 1, 2, 3, 4, 5, 102], 2)
    assert unpooled(6, "start") == ([100, 2, 3, 4, 5, 102], 1)
    assert unpooled(5, "start") == ([100, 3, 4, 5, 102], 0)
    assert unpooled(4, "start") == ([100, 4, 5, 102], 0)
    assert unpooled(4, "end") == ([100, 1, 2, 102], 2)
    (ids,), _ = letters(6, mask_prompt=True).encode_ids([[3, 4, 5]], "ab", "start")
    assert (ids.input_ids, ids.unpooled) == ([100, 2, 3, 4, 5, 102], 1)


@each_side
@each_limit
def test_ids_make_the_sequences_of_their_texts(pair: Pair, max_tokens: int, truncate: Any) -> None:
    ids = [pair.whole(text, special=False).ids for text in TEXTS]
    ours = pair.ours(max_tokens)
    assert ours.encode_ids(ids, truncate=truncate) == ours.encode_texts(TEXTS, truncate=truncate)


def test_ids_get_what_the_model_puts_around_texts() -> None:
    (plain,), _ = letters(8, appended=(9,), closing=(7,)).encode_ids([[3]], prompt="ab")
    assert plain.input_ids == [100, 1, 2, 3, 9, 102, 7]
    (segments,), _ = letters(8, token_type_ids=True).encode_ids([[3]])
    assert segments.token_type_ids == [0, 0, 0]


@pytest.mark.parametrize("unknown", [-1, 200, 2**40])
def test_an_id_beyond_the_vocabulary_is_refused_by_its_array(unknown: int) -> None:
    with pytest.raises(InvalidRequestError, match=r"^inputs\.1 has a token id outside .+ \(0 to 199\)\.$") as raised:
        letters().refuse_unknown(enumerate([[0, 199], [3, unknown]]), "inputs")
    assert raised.value.param == "inputs.1"
    letters().refuse_unknown(enumerate([[0, 199], [3]]), "inputs")


def test_tokens_are_counted_without_a_limit(pair: Pair) -> None:
    texts = [*TEXTS, LONG["ordinary"]]
    expected = [len(pair.whole(text).ids) for text in texts]
    assert pair.ours(8).count(texts) == expected
    assert pair.ours(8).count(["a"], "query: ") == [len(pair.whole("query: a").ids)]


def test_special_tokens_are_counted_where_the_model_adds_them() -> None:
    assert letters(8, appended=(9,), closing=(7,)).count(["", "abc"]) == [4, 7]


def test_tokens_are_told_with_their_places(pair: Pair) -> None:
    for text in TEXTS:
        encoding = pair.whole(text)
        ours = pair.ours(8).tokens(text)
        assert [token.id for token in ours] == encoding.ids
        assert [token.special for token in ours] == [bool(flag) for flag in encoding.special_tokens_mask]
        for token, place, piece in zip(ours, encoding.offsets, encoding.tokens, strict=True):
            expected = (piece, None, None) if token.special else (text[slice(*place)], *place)
            assert (token.text, token.start, token.stop) == expected
        assert pair.ours(8).tokens(text, special=False) == [token for token in ours if not token.special]


def test_tokens_of_a_prompt_are_told_too() -> None:
    told = letters(8, appended=(9,)).tokens("c", "ab")
    assert [(token.id, token.special) for token in told] == [
        (100, True), (1, False), (2, False), (3, False), (9, True), (102, True)
    ]  # fmt: skip


@pytest.mark.parametrize("tokens", [1, 2, 5, 9])
def test_a_shortened_text_is_the_text_of_its_first_tokens(pair: Pair, tokens: int) -> None:
    kept, cuts = pair.ours(512).shorten(TEXTS, tokens)
    reported = {cut.index: cut for cut in cuts}
    for index, text in enumerate(TEXTS):
        encoding = pair.whole(text, special=False)
        if len(encoding) <= tokens:
            assert kept[index] == text
            assert index not in reported
        else:
            assert kept[index] == text[: encoding.offsets[tokens - 1][1]]
            assert reported[index] == TruncatedInput(index, len(encoding), tokens, by="request")


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_very_long_text_is_shortened_alike(pair: Pair, text: str) -> None:
    (kept,), cuts = pair.ours(512).shorten([text], 100)
    encoding = pair.whole(text, special=False)
    assert kept == (text[: encoding.offsets[99][1]] if len(encoding) > 100 else text)
    assert [(cut.index, cut.kept, cut.by) for cut in cuts] == ([(0, 100, "request")] if len(encoding) > 100 else [])


def test_nothing_is_shortened_that_the_model_cuts_earlier(pair: Pair) -> None:
    assert pair.ours(8).shorten([LONG["ordinary"]], 8) == ([LONG["ordinary"]], [])
    assert pair.ours(8).shorten([LONG["ordinary"]], 4096) == ([LONG["ordinary"]], [])


@pytest.mark.parametrize("tokens", [1, 3, 8])
def test_mecabs_words_are_shortened_to_so_many_tokens(japanese: Japanese, tokens: int) -> None:
    texts = [*corpus.JAPANESE[:8], *corpus.ENGLISH[:2], "短い"]
    kept, cuts = japanese.ours.shorten(texts, tokens)
    reported = {cut.index: cut for cut in cuts}
    for index, (text, short) in enumerate(zip(texts, kept, strict=True)):
        whole = japanese.ids(text)
        assert text.startswith(short)
        if len(whole) <= tokens:
            assert short == text
            assert index not in reported
        else:
            assert len(japanese.ids(short)) <= tokens
            assert reported[index] == TruncatedInput(index, len(whole), tokens, by="request")


def test_a_very_long_japanese_text_is_shortened(japanese: Japanese) -> None:
    text = corpus.JAPANESE[0] * 3_000
    (kept,), (cut,) = japanese.ours.shorten([text], 50)
    assert text.startswith(kept)
    assert 40 < len(japanese.ids(kept)) <= 50
    assert (cut.index, cut.kept, cut.by, cut.exact) == (0, 50, "request", False)


def test_japanese_tokens_are_told_and_counted(japanese: Japanese) -> None:
    for text in corpus.JAPANESE[:4]:
        expected: list[int] = japanese.theirs(text)["input_ids"]
        told = japanese.ours.tokens(text)
        assert [token.id for token in told] == expected
        assert [token.text for token in told] == japanese.theirs.convert_ids_to_tokens(expected)
        assert [token.special for token in told] == [True, *[False] * (len(expected) - 2), True]
        assert japanese.ours.count([text]) == [len(expected)]


def test_the_table_of_this_file_is_cut_somewhere(pair: Pair) -> None:
    """Else the tests of this file would show nothing."""
    lengths = [len(pair.whole(text)) for text in TEXTS]
    assert min(lengths) < 5
    assert max(lengths) > 20
