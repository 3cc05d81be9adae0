"""Pairs of prompted models: the ids of the whole prompt where it fits, and both texts where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from errors import InvalidRequestError
from models.catalog import AnswerScoring, load_catalog
from runners.contracts import QUERY, TruncatedInput
from runners.text.pairs import Joint
from runners.text.plain_tokenizers import FastTokenizer
from runners.text.reading import Reader
from runners.text.templates import PairPrompt, Template, read_template
from runners.text.tokenization import Rules, TextTokenizer
from tests.tiny import build, corpus, qwen3
from tests.unit.fakes import LetterTokenizer

SCORING = cast(AnswerScoring, load_catalog().get(qwen3.RERANKER).scoring)
BODY = PairPrompt.parse(SCORING.body)
INSTRUCTION = "Find the passage"
TEXT = st.text(max_size=30) | st.text("a?! \n\r\t<>:'1é日🙂\u0301", max_size=12)
WORDS = ["planet", "red", "moon", "star", "comet", "orbit", "dust", "ring", "ice", "rock"]


class Judge:
    """Our tokenizer for a tiny Qwen3-Reranker, and transformers' over the same files."""

    def __init__(self, folder: Path) -> None:
        self.plain = Counting(folder / "tokenizer.json")
        self.reference = AutoTokenizer.from_pretrained(folder)
        self.prefix, self.suffix = self.plain.encode([SCORING.prefix, SCORING.suffix])

    def ours(self, max_tokens: int = 40_960, body: PairPrompt = BODY) -> TextTokenizer:
        template = Template((self.prefix, self.suffix), ([], [], []), 0)
        return TextTokenizer(self.plain, template, Rules(max_tokens=max_tokens, vocabulary=200_000, body=body))

    def apart(self, max_tokens: int = 40_960) -> TextTokenizer:
        """Ours for a prompt whose parts are tokenised apart, with an optional instruction."""
        template = Template((self.prefix, self.suffix), ([], [], []), 0)
        body = PairPrompt.parse("query: {query}\ndocument: {document}", "instruction: {instruction}\n")
        rules = Rules(max_tokens=max_tokens, vocabulary=200_000, body=body, separator="\n")
        return TextTokenizer(self.plain, template, rules)

    @cached_property
    def unlimited(self) -> TextTokenizer:
        """Made once: finding where the prompt divides takes longer than a test."""
        return self.ours()

    def theirs(self, query: str, document: str, instruction: str = INSTRUCTION) -> list[int]:
        """Ids of the whole prompt: the model card's process_inputs."""
        text = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        ids: list[int] = self.reference(
            f"{SCORING.prefix}{text}{SCORING.suffix}",
            add_special_tokens=False,
        )["input_ids"]
        return ids

    def text(self, ids: list[int]) -> str:
        """What ids stand for."""
        decoded: str = self.reference.decode(ids)
        return decoded


class Counting(FastTokenizer):
    """Notes how much it reads."""

    characters = 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.characters += sum(map(len, texts))
        return super().encode(texts)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(build(qwen3.RERANKER, tmp_path_factory.mktemp("qwen3")))


def test_the_prompt_is_divided_behind_its_line_break(judge: Judge) -> None:
    assert Joint.find(judge.plain, BODY) == Joint("\n", "<Document>: ")


@given(query=TEXT, document=TEXT, instruction=TEXT)
@example(query="", document="", instruction="")
@example(query="end\n", document="\nstart", instruction=" ")
@example(query="end \u0301", document="\u0338start", instruction="<|im_end|>")
@example(query="{query}", document="{document}", instruction="{instruction}")
def test_a_pair_that_fits_has_the_ids_of_the_whole_prompt(
    judge: Judge, query: str, document: str, instruction: str
) -> None:
    documents = [document, "a", document + " b", f"{document}\n\n"]
    sequences, cuts = judge.unlimited.encode_pairs(query, documents, instruction)
    assert cuts == []
    for text, sequence in zip(documents, sequences, strict=True):
        assert sequence.input_ids == judge.theirs(query, text, instruction)


@given(query=TEXT, document=TEXT)
def test_also_where_a_prompt_cannot_be_divided(judge: Judge, query: str, document: str) -> None:
    body = PairPrompt(("", "\n", " ", ""))  # nothing between query and document that splits them
    ours = judge.ours(body=body)
    assert Joint.find(judge.plain, body) is None
    (sequence,), _ = ours.encode_pairs(query, [document], INSTRUCTION)
    (whole,) = judge.plain.encode([f"{INSTRUCTION}\n{query} {document}"])
    assert sequence.input_ids == [*judge.prefix, *whole, *judge.suffix]


def test_the_query_is_read_once(judge: Judge) -> None:
    ours, query = judge.ours(), "planet " * 3_000
    judge.plain.characters = 0
    sequences, _ = ours.encode_pairs(query, [f"document {number}" for number in range(200)], INSTRUCTION)
    assert len(sequences) == 200
    assert judge.plain.characters < 2 * len(query)


def test_of_a_query_that_cannot_fit_little_is_read(judge: Judge) -> None:
    ours = judge.ours(256)
    judge.plain.characters = 0
    ours.encode_pairs("planet " * 150_000, ["a", "b"], INSTRUCTION)
    assert judge.plain.characters < 100_000


def long(word: str, count: int) -> str:
    """So many words, whose tokens are no other word's."""
    return " ".join([word] * count)


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize("joined", [True, False])
def test_both_texts_stay_and_so_do_the_words_around_them(judge: Judge, joined: bool, truncate: Any) -> None:
    limit, body = 200, BODY if joined else PairPrompt(("<Instruct>: ", " <Query> ", " ", ""))
    queries = [f"{long(word, 400)}" for word in ("planet", "moon")]
    documents = [f"{long(word, 300)}" for word in ("comet", "dust", "ice")] + ["ring"]
    found = [judge.ours(limit, body).encode_pairs(query, documents, INSTRUCTION, truncate)[0] for query in queries]
    ids = [sequence.input_ids for sequences in found for sequence in sequences]
    assert len({tuple(each) for each in ids}) == len(ids)
    assert max(map(len, ids)) == limit
    opening = judge.text(judge.prefix + judge.plain.encode(["<Instruct>: Find the passage"])[0])
    words = ("<Query>:", "<Document>:") if joined else ("<Query>",)
    for query, sequences in zip(("planet", "moon"), found, strict=True):
        for document, sequence in zip(("comet", "dust", "ice", "ring"), sequences, strict=True):
            text = judge.text(sequence.input_ids)
            assert text.startswith(opening)
            assert text.endswith(SCORING.suffix)
            assert all(text.count(word) == 1 for word in words)
            assert query in text
            assert document in text


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize("words", [30, 60, 90, 150, 1_000, 30_000])
def test_the_query_gets_half_at_most(judge: Judge, words: int, truncate: Any) -> None:
    limit = 200
    ours = judge.ours(limit)
    query, document = long("planet", words), long("comet", 1_000)
    (sequence,), cuts = ours.encode_pairs(query, [document], INSTRUCTION, truncate)
    assert len(sequence) == limit
    template = len(judge.theirs("", ""))
    of_query = len(judge.plain.encode([query])[0]) if words < 30_000 else None
    kept = judge.text(sequence.input_ids).split("<Document>:")[0].split("<Query>:")[1]
    kept_tokens = len(judge.plain.encode([kept.strip("\n")])[0])
    half = (limit - template) / 2
    if of_query is not None and of_query <= half - 3:
        assert kept == f" {query}\n"
        assert [cut.index for cut in cuts] == [0]
    elif of_query is None or of_query > half + 3:
        assert abs(kept_tokens - half) <= 3
        pair, asked = cuts
        assert (pair.index, pair.by, pair.kept) == (0, "model", limit)
        assert (asked.index, asked.by, asked.exact) == (QUERY, "query", words < 30_000)
        assert abs(asked.kept - half) <= 3
        assert of_query is None or abs(asked.tokens - of_query) <= 1


@pytest.mark.parametrize("more", [50, 51, 90])
def test_a_long_document_is_cut_as_the_model_card_cuts_it(judge: Judge, more: int) -> None:
    """`truncation="longest_first"` and a max_length without prefix and suffix: the first tokens of the whole."""
    query, documents = "Which planet is red?", [corpus.ENGLISH[0] * 20, "short"]
    limit = len(judge.theirs(query, "")) + more
    sequences, cuts = judge.ours(limit).encode_pairs(query, documents, INSTRUCTION)
    whole = judge.theirs(query, documents[0])
    inside = whole[len(judge.prefix) : len(whole) - len(judge.suffix)]
    room = limit - len(judge.prefix) - len(judge.suffix)
    assert sequences[0].input_ids == [*judge.prefix, *inside[:room], *judge.suffix]
    assert sequences[1].input_ids == judge.theirs(query, "short")
    assert cuts == [TruncatedInput(0, len(whole), limit)]


def test_a_query_longer_than_half_stays_whole_where_the_pair_fits(judge: Judge) -> None:
    query = long("planet", 40)
    limit = len(judge.theirs(query, "red"))
    sequences, cuts = judge.ours(limit).encode_pairs(query, ["red", "red moon comet"], INSTRUCTION)
    assert sequences[0].input_ids == judge.theirs(query, "red")
    assert [cut.index for cut in cuts] == [1, QUERY]


def test_an_instruction_that_leaves_no_room_is_refused(judge: Judge) -> None:
    ours = judge.ours(120)
    with pytest.raises(InvalidRequestError, match="leaves no room") as raised:
        ours.encode_pairs("planet", ["comet"], long("rock", 200))
    assert raised.value.param == "instruction"


@given(query=TEXT, document=TEXT, instruction=TEXT)
@example(query="What is red?", document="\nMars", instruction="Is it red?\n")
@example(query="?\n", document=" 1", instruction="{query}")
@example(query="moon", document="star", instruction="")
def test_texts_around_a_separator_are_tokenised_apart(
    judge: Judge, query: str, document: str, instruction: str
) -> None:
    """As the libraries of mxbai-rerank-v2 and bge-reranker-v2-gemma do; "?" and a line break can be one token.

    With an instruction, the first text is that of `prepare_inputs` in mxbai_rerank_v2.py (mxbai-rerank 0.1.6).
    """
    asked = "\n".join([*([f"instruction: {instruction}"] if instruction else []), f"query: {query}"])
    parts = [judge.prefix, *judge.plain.encode([asked, "\n", f"document: {document}"]), judge.suffix]
    (sequence,), cuts = judge.apart().encode_pairs(query, [document], instruction)
    assert sequence.input_ids == [token for part in parts for token in part]
    assert not cuts


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_separator_is_never_cut(judge: Judge, truncate: Any) -> None:
    query, document = long("moon", 60), long("star", 90)
    (sequence,), cuts = judge.apart(max_tokens=100).encode_pairs(query, [document], truncate=truncate)
    assert len(sequence) == 100
    text = judge.text(sequence.input_ids)
    assert text.startswith(f"{SCORING.prefix}query: ")
    assert text.endswith(SCORING.suffix)
    assert text.count("\ndocument: ") == 1
    assert [cut.index for cut in cuts] == [0, QUERY]


def test_parts_of_the_documents_give_what_all_of_them_give(judge: Judge) -> None:
    documents = [long(word, count) for word in WORDS for count in (1, 5, 300)]
    ours = judge.ours(150)
    together, _ = ours.encode_pairs("planet", documents, INSTRUCTION)
    pairs = ours.pairs("planet", INSTRUCTION)
    assert [sequence for document in documents for sequence in pairs.encode([document])[0]] == together


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_cross_encoder_keeps_its_documents_beside_a_query_above_the_limit(truncate: Any) -> None:
    plain = LetterTokenizer()
    ours = TextTokenizer(plain, read_template(plain, closing=()), Rules(max_tokens=13, vocabulary=200))
    documents = ["cc", "ddd", "e" * 70_000]
    sequences, cuts = ours.encode_pairs("ab" * 50_000, documents, truncate=truncate)
    tails = [sequence.input_ids[sequence.input_ids.index(101) + 1 : -1] for sequence in sequences]
    assert tails == [[3, 3], [4, 4, 4], [5] * 5]
    assert [cut.index for cut in cuts] == [0, 1, 2]


class Measured(LetterTokenizer):
    """Blanks are no tokens."""

    def __init__(self) -> None:
        self.longest = 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.longest = max([self.longest, *map(len, texts)])
        return super().encode([text.replace(" ", "") for text in texts])


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_no_more_of_a_text_is_read_than_the_setting_says(truncate: Any) -> None:
    """8 MB of blanks took 4.2 s."""
    plain = Measured()
    reader = Reader(plain, max_bytes=200_000)
    text = "ab" + " " * 8_000_000 + "yz"
    (read,) = reader.read([text], 500, truncate)
    assert plain.longest <= 200_000
    assert (read.ids, read.whole) == (([1, 2] if truncate == "end" else [25, 26]), False)
    (ordinary,) = reader.read(["ab" + " " * 199_996 + "yz"], 500, truncate)
    assert (ordinary.ids, ordinary.whole) == ([1, 2, 25, 26], True)


def test_a_letter_that_the_limit_divides_is_left_out() -> None:
    class Letters(LetterTokenizer):
        def encode(self, texts: Sequence[str]) -> list[list[int]]:
            return [[ord(letter) for letter in text] for text in texts]

    reader = Reader(Letters(), max_bytes=10)
    for truncate in ("end", "start"):
        (read,) = reader.read(["日本語日本語"], 500, truncate)
        assert (len(read.ids), read.whole) == (3, False)
    (short,) = reader.read(["日本語"], 500, "end")
    assert (len(short.ids), short.whole) == (3, True)


def test_a_text_that_is_read_in_part_is_reported() -> None:
    plain = Measured()
    rules = Rules(max_tokens=10, vocabulary=200, max_text_bytes=1_000)
    ours = TextTokenizer(plain, read_template(plain, closing=()), rules)
    text = "a" + " " * 5_000 + "b"
    (alone,), cuts = ours.encode_texts([text])
    assert alone.input_ids == [100, 1, 102]
    assert cuts == [TruncatedInput(0, 3, 3, exact=False, by="bytes")]
    _, cuts = ours.encode_pairs("c", [text, "d"])
    assert cuts == [TruncatedInput(0, 5, 5, exact=False, by="bytes")]
