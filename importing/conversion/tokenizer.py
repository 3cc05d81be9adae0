"""Tokenizer files: `tokenizer.json` for every tokenizer that the tokenizers library supports.

Serving then needs neither sentencepiece nor the tokenizer classes of transformers 5, two of which silently give wrong
ids for older repositories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errors import ModelUnavailableError
from importing.conversion.checkpoint import read_json
from models.catalog import ModelSpec
from models.files import link

FAST = "tokenizer.json"
_LINKED = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt")


def convert(source: Path, target: Path, spec: ModelSpec) -> None:
    """Link the tokenizer's files; build tokenizer.json if the repository has none."""
    for name in _LINKED:
        if (source / name).is_file():
            link(source / name, target / name)
    if spec.tokenizer.backend == "bert-japanese":
        if not (source / "vocab.txt").is_file():
            raise ModelUnavailableError(f"{spec.repo}: vocab.txt is missing.")
    elif (source / FAST).is_file():
        link(source / FAST, target / FAST)
    else:
        _build_fast(source, target, spec)
    if spec.tokenizer.lower_case:
        _lower_case(target / FAST)


def _build_fast(source: Path, target: Path, spec: ModelSpec) -> None:
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"trust_remote_code": False}
    if spec.tokenizer.backend == "xlm-roberta":
        # MLukeTokenizer of transformers 5 returns raw sentencepiece ids
        options["tokenizer_type"] = "xlm-roberta"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        backend = tokenizer.backend_tokenizer
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ModelUnavailableError(
            f"{spec.repo}: the tokenizer cannot be read ({error}). It may need: pip install sentencepiece protobuf."
        ) from error
    backend.save(str(target / FAST))


def _lower_case(path: Path) -> None:
    """Lower-case before the tokenizer's own normalisation, as sentence-transformers' do_lower_case does."""
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file(str(path))
    own = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    path.unlink()  # it may be a hard link to the original
    tokenizer.save(str(path))


def closing_ids(source: Path, target: Path) -> tuple[int, ...]:
    """The id of the end-of-text token, for tokenizers whose template omits it."""
    from tokenizers import Tokenizer

    config = {**read_json(source / "special_tokens_map.json"), **read_json(source / "tokenizer_config.json")}
    eos = config.get("eos_token")
    content = eos.get("content") if isinstance(eos, dict) else eos
    token_id = Tokenizer.from_file(str(target / FAST)).token_to_id(str(content))
    if token_id is None:
        raise ModelUnavailableError(f"The tokenizer does not have its end-of-text token {content!r}.")
    return (int(token_id),)
