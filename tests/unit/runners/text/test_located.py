"""A text as one sequence, with the characters of its tokens."""

from __future__ import annotations

import numpy as np
import pytest

from errors import InputTooLongError, InvalidRequestError
from runners.late_chunking import as_one, mean_of_ranges
from runners.text.located import Located
from tests.unit.fakes import letters

LIMIT = 12
SPECIAL = 2


def located(text: str, prompt: str = "") -> Located:
    return letters(LIMIT).locate(text, prompt, "input")


def test_a_token_belongs_to_the_spans_that_have_a_character_of_it() -> None:
    found = located("abcdef")
    assert found.sequence.input_ids == [100, 1, 2, 3, 4, 5, 6, 102]
    ranges = found.find([(0, 2), (2, 6), (1, 3), (5, 6)], ["a", "b", "c", "d"])
    assert ranges.tolist() == [[1, 3], [3, 7], [2, 4], [6, 7]]


def test_tokens_of_several_characters() -> None:
    """Tokens 0-3, 3-7 and 8-12: the second one lies in two spans."""
    starts, stops = np.array([[0, 3], [3, 7], [8, 12]]).T
    found = Located(located("a").sequence, starts, stops, before=1)
    assert found.find([(0, 5), (5, 12), (7, 9)], ["a", "b", "c"]).tolist() == [[1, 3], [2, 4], [3, 4]]
    with pytest.raises(InvalidRequestError, match="b has no tokens") as caught:
        found.find([(0, 3), (7, 8)], ["a", "b"])
    assert caught.value.param == "b"


def test_a_prompt_comes_before_the_text_and_belongs_to_no_span() -> None:
    found = located("cd", "ab")
    assert found.sequence.input_ids == [100, 1, 2, 3, 4, 102]
    assert found.find([(0, 1), (1, 2)], ["a", "b"]).tolist() == [[3, 4], [4, 5]]


def test_a_text_that_exceeds_the_limit_is_rejected() -> None:
    assert len(located("a" * (LIMIT - SPECIAL)).sequence) == LIMIT
    with pytest.raises(InputTooLongError, match=f"all of input has {LIMIT + 1} tokens.*the model takes {LIMIT}"):
        located("a" * (LIMIT - SPECIAL + 1))
    with pytest.raises(InputTooLongError, match=f"more than {LIMIT} tokens"):
        located("a" * 100_000)
    with pytest.raises(InputTooLongError, match=f"more than {LIMIT} tokens"):
        letters(LIMIT, max_text_bytes=5).locate("a" * 6, "", "input")


def test_texts_become_one_with_spaces() -> None:
    text, spans = as_one(["ab", "c", "def"])
    assert text == "ab c def"
    assert [text[start:end] for start, end in spans] == ["ab", "c", "def"]


def test_means_of_overlapping_ranges() -> None:
    states = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    ranges = np.array([[0, 9], [2, 5], [4, 5]])
    expected = [states[start:end].mean(axis=0) for start, end in ranges]
    np.testing.assert_allclose(mean_of_ranges(states, ranges), expected, atol=1e-6)
