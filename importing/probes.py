"""The texts and pairs that compare a model with its reference at import.

They cover what implementations get wrong: lengths up to and beyond the token limit, scripts, letter case, blanks,
prompts, and pairs in which either side is long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.catalog import ModelSpec, Side
from models.facts import ModelFacts
from models.prompts import choose_prompt
from runners.text.tokenization import Tokenizer

TEXTS = (
    "a",
    "Mars",
    "The PLANET Mars is Red; the planet mars is red.",
    "Which planet is known as the Red Planet?",
    "Venus is often called Earth's twin because of its similar size and proximity.",
    " ",
    "\n\t  \n",
    "  two  blanks\tand a tab \n",
    "火星は「赤い惑星」として知られています。",
    "人工知能（ＡＩ）は、１２３個のﾃｷｽﾄをベクトルに変換する。",
    "北京是中国的首都，上海是最大的城市。",
    "القاهرة هي عاصمة مصر وأكبر مدنها.",
    "Москва - столица России. 서울은 대한민국의 수도입니다. नई दिल्ली भारत की राजधानी है।",
    "Die Übergröße naïve façade, Ελλάδα, İstanbul, ﬁnance, e\u0301te\u0301",
    "👩‍🚀🚀 to the 🔴 planet! 😀🎉",
    "def area(r: float) -> float:\n    return 3.14159 * r**2  # πr²\n",
    "SELECT id, \"name\" FROM users WHERE age >= 18 AND mail LIKE '%@example.org';",
    "https://example.org/a/b?q=x%20y&n=1#top user@example.org C:\\temp\\x.txt",
    "1234567890 3.14159 1,000,000.00 -42 2026-11-28T21:50:00Z",
    "[CLS] <s> </s> [SEP] <|endoftext|> [MASK] <unk>",
    "zero\u200bwidth \ufeffmark, soft\u00adhyphen, no\u00a0break",
    "Supercalifragilisticexpialidocious antidisestablishmentarianism zzzzxqwv",
)
QUERIES = ("Which planet is known as the Red Planet?", "日本の首都はどこですか？")
DOCUMENTS = (
    *TEXTS[1:12],
    *TEXTS[14:17],
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
)
PROMPTED = (TEXTS[2], TEXTS[8], TEXTS[15])
_WORDS = (
    "the quick brown fox jumps over a lazy dog near the river bank while seven bright stars shine on old stone walls "
    "and children read long stories about planets rain bread music green tea cold winters and warm summers at home"
)

SHORT_LIMIT = 512
"""Up to this limit, texts at the limit are computed. Of other models, their tokens are compared, and one long text is
computed, as more would take minutes."""
MOST_COMPUTED_TOKENS = 2304
"""More than the 2,048 positions that some wrong configurations allow."""
_LONG_CHARACTERS = 300
"""More than any pair of the short texts has."""
_WORK = 1e12
"""Parameters x tokens of that text: seconds to a minute."""
LONGEST_LIMIT = 40_000
"""Models with a higher limit, or none, are not tested at their limit."""


@dataclass(frozen=True)
class Probe:
    """A text or a pair, and how a request would present it."""

    text: str | tuple[str, str]
    prompt: str = ""
    """What the service puts before a text, or the instruction of a pair."""
    prompt_name: str | None = None
    side: Side | None = None
    computed: bool = True
    """False: only its tokens are compared."""

    @property
    def is_long(self) -> bool:
        """Whether it is one of the texts near or beyond a token limit."""
        return sum(map(len, self.text if isinstance(self.text, tuple) else (self.text,))) > _LONG_CHARACTERS


def probes(spec: ModelSpec, facts: ModelFacts, tokenizer: Tokenizer) -> list[Probe]:
    """The probes of one model."""
    if spec.kind == "reranker":
        return list(_pairs(spec, tokenizer, facts.parameters))
    # models with other outputs only read queries and documents differently
    default: Side | None = None if "dense" in facts.outputs else "document"
    return list(_texts(spec, tokenizer, facts.parameters, default))


def _texts(spec: ModelSpec, tokenizer: Tokenizer, parameters: int, default: Side | None) -> Iterator[Probe]:
    plain = choose_prompt(spec, input_type=default)
    long = list(_long_texts(tokenizer, parameters))
    for text, computed in [*((text, True) for text in TEXTS), *long]:
        yield Probe(text, plain, None if default else spec.default_prompt, default, computed=computed)
    sides: tuple[Side, ...] = ("query", "document")
    for side in sides:
        prompt = choose_prompt(spec, input_type=side)
        for text, computed in [*((text, True) for text in PROMPTED), *long[:1]]:
            yield Probe(text, prompt, side=side, computed=computed)
    for name in () if default else spec.prompts.keys() - {"query", "document"}:
        for text in PROMPTED[:2]:
            yield Probe(text, choose_prompt(spec, prompt_name=name), name)


def _pairs(spec: ModelSpec, tokenizer: Tokenizer, parameters: int) -> Iterator[Probe]:
    instruction = spec.instruction or ""
    for query in QUERIES:
        for document in DOCUMENTS:
            yield Probe((query, document), instruction)
    for text, computed in _long_texts(tokenizer, parameters):
        short = computed and tokenizer.max_tokens <= SHORT_LIMIT
        yield Probe((QUERIES[0], text), instruction, computed=computed)
        yield Probe((text, DOCUMENTS[3]), instruction, computed=short)
        yield Probe((text, text.partition(" ")[2]), instruction, computed=short)


def _long_texts(tokenizer: Tokenizer, parameters: int) -> Iterator[tuple[str, bool]]:
    """A text beyond the token limit, one just within it, and a long one; and whether each is computed."""
    limit = tokenizer.max_tokens
    if limit <= LONGEST_LIMIT:
        beyond = _long_text(limit + 40)
        room = limit - tokenizer.special_tokens
        yield beyond, limit <= SHORT_LIMIT
        yield tokenizer.shorten([beyond], max(1, room - 1))[0][0], limit <= SHORT_LIMIT
    if limit > SHORT_LIMIT:
        most = int(min(limit, MOST_COMPUTED_TOKENS, max(SHORT_LIMIT, _WORK // max(1, parameters))))
        yield tokenizer.shorten([_long_text(most)], most - tokenizer.special_tokens)[0][0], True


def _long_text(words: int) -> str:
    """A text of so many words, each at least one token, in which no passage repeats."""
    pool = _WORDS.split()
    return " ".join(pool[(place * place + place // len(pool)) % len(pool)] for place in range(words))
