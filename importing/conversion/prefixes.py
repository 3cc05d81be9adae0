"""Prefixes that multi-vector models were trained with as one token, such as `[unused0]`, and get as text here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def with_prefixes(folder: Path, prompts: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The vocabulary of a tokenizer, and the prefixes of prompts that must become special tokens.

    A prefix is a whole prompt, or its first word, that the vocabulary has as a token and that the tokenizer would
    divide. This is the rule of sentence-transformers' MultiVectorEncoder.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    vocabulary = tokenizer.get_vocab()
    found = []
    for prompt in filter(str.split, prompts):
        known = next((each for each in (prompt, prompt.split(None, 1)[0]) if each in vocabulary), None)
        if known is not None and tokenizer.tokenize(known) != [known]:
            found.append(known)
    return vocabulary, tuple(dict.fromkeys(found))
