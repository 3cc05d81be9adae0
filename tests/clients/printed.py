"""Runs example programs and checks their output."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.reference import ATOL, Reference
from tests.clients.samples import DIMENSIONS, QUERY

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_TIMEOUT_S = 180
_DIGITS = 5e-5
"""Rounding error of the four printed decimals."""

_QUESTION = "How do I reset my password?"
_SENTENCES = [
    "Open the settings page and choose a new password.",
    "Our office is closed on public holidays.",
    "The weather is cold in winter.",
]
_DOCUMENTS = [
    "Today is a beautiful sunny day.",
    "Machine learning is a branch of artificial intelligence.",
    "Deep learning is a method of machine learning.",
]
"""Texts of the examples in Python and JavaScript."""


def run(*command: str, folder: Path = EXAMPLES, **environment: str) -> str:
    """Standard output of a command; it must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pairs(printed: str) -> list[tuple[float, str]]:
    """Lines with a number and a text."""
    lines = [line.strip().split("  ", 1) for line in printed.splitlines() if "  " in line.strip()]
    return [(float(number), text) for number, text in lines]


def assert_pairs(printed: str, expected: list[tuple[float, str]]) -> None:
    """The same texts in the same order, with the same numbers within the printed decimals."""
    found = pairs(printed)
    assert [text for _, text in found] == [text for _, text in expected]
    assert [number for number, _ in found] == pytest.approx([number for number, _ in expected], abs=ATOL + _DIGITS)


def assert_cosines(printed: str, reference: Reference) -> None:
    """Check the output of the examples with OpenAI's clients."""
    texts = [_QUESTION, *_SENTENCES]
    question, *vectors = reference.vectors(texts)
    head, *rest = printed.splitlines()
    assert head == f"{len(texts)} vectors of {DIMENSIONS} numbers, {reference.tokens(texts)} tokens"
    cosines = [float(vector @ question) for vector in vectors]
    assert_pairs("\n".join(rest), list(zip(cosines, _SENTENCES, strict=True)))


def assert_two_best(printed: str, reference: Reference) -> None:
    """Check the output of the rerank examples."""
    best = reference.ranking(QUERY, _DOCUMENTS)[:2]
    assert_pairs(printed, [(score, _DOCUMENTS[index]) for index, score in best])
