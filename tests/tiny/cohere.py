"""Cohere/rerank-multilingual-v3.0: a card and a tokenizer. There are no weights and no config to load."""

from collections.abc import Callable
from pathlib import Path

from . import vocab
from .layout import write_extras

NAME = "Cohere/rerank-multilingual-v3.0"


def build(folder: Path, seed: int) -> None:
    """Write README.md, .gitattributes and tokenizer.json; the seed has no effect."""
    folder.mkdir(parents=True, exist_ok=True)
    write_extras(folder, NAME)
    vocab.xlm_roberta().save(str(folder / "tokenizer.json"))


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: build}
