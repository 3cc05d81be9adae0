"""Templates: the special tokens around a text, and the prompt of a prompted model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runners.text.plain_tokenizers import PlainTokenizer


@dataclass(frozen=True)
class Template:
    """The special tokens around a text, or around the two texts of a pair."""

    single: tuple[list[int], list[int]]
    pair: tuple[list[int], list[int], list[int]]
    second_segment: int
    """Segment id of a pair's second text and of the special tokens after it."""


@dataclass(frozen=True)
class PairPrompt:
    """The prompt around an instruction, a query and a document."""

    parts: tuple[str, str, str, str]
    optional: tuple[str, str] | None = None
    """Text around an instruction that is put before the whole; None: the instruction is between the first two parts."""

    @classmethod
    def parse(cls, text: str, instruction_prompt: str | None = None) -> PairPrompt:
        """Split `...{instruction}...{query}...{document}...` into its four parts; {instruction} may be missing.

        `instruction_prompt` is text with {instruction}, left out where there is no instruction.
        """
        start, _, rest = text.partition("{query}")
        first, _, second = start.rpartition("{instruction}")
        third, _, fourth = rest.partition("{document}")
        before, _, after = (instruction_prompt or "").partition("{instruction}")
        return cls((first, second, third, fourth), None if instruction_prompt is None else (before, after))

    def before_query(self, instruction: str) -> str:
        """The text before the query; braces in the instruction have no special meaning."""
        if instruction and self.optional is not None:
            instruction = instruction.join(self.optional)
        return f"{self.parts[0]}{instruction}{self.parts[1]}"

    def fill(self, instruction: str, query: str, document: str) -> str:
        """The whole text; braces in the arguments have no special meaning."""
        _, _, third, fourth = self.parts
        return f"{self.before_query(instruction)}{query}{third}{document}{fourth}"


def read_template(plain: PlainTokenizer, *, closing: Sequence[int]) -> Template:
    """Find the special tokens by encoding a probe with and without them.

    `closing` are ids to append that the tokenizer's own template omits.
    """
    word = "a"
    ids = plain.encode([word])[0]
    before, after = _around(plain.probe(word, None), ids)
    both = plain.probe(word, word)
    first, rest = _around(both, ids)
    between, last = _around(rest, ids)
    return Template((before, [*after, *closing]), (first, between, [*last, *closing]), plain.second_segment())


def _around(ids: list[int], inner: list[int]) -> tuple[list[int], list[int]]:
    """The ids before and after the first occurrence of `inner`."""
    for start in range(len(ids) - len(inner) + 1):
        if ids[start : start + len(inner)] == inner:
            return ids[:start], ids[start + len(inner) :]
    raise ValueError("the tokenizer's template changes the text's own tokens")
