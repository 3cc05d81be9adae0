"""PEFT adapters (LoRA and its relatives): merge an adapter into the weights of its base model.

The result is an ordinary checkpoint: the base model's network with the adapter repository's tokenizer, modules and
prompts. It is converted, verified and served like any other.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from errors import ModelUnavailableError
from importing.download import ADAPTER, COMMIT, Snapshot, needed_files, shallow_files
from models.catalog import REPOSITORY, ModelSpec
from models.files import copy

_TOKENIZERS = re.compile(r".*token.*|vocab\..*|merges\.txt|sp.*\.model|chat_template\.jinja")
_NETWORK = ("adapter_", "config.json", "model", "pytorch_model")
_CLASSES = {"SEQ_CLS": "AutoModelForSequenceClassification", "CAUSAL_LM": "AutoModelForCausalLM"}
"""`task_type` of an adapter -> the class of transformers that it changes; AutoModel for all others."""


def has_adapter(spec: ModelSpec, folder: Path) -> bool:
    """Whether a model is an adapter: the full name has its folder, or the folder holds no network."""
    return spec.adapter is not None or ((folder / ADAPTER).is_file() and not (folder / "config.json").is_file())


def merged(spec: ModelSpec, source: Snapshot, fetch: Callable[[ModelSpec], Snapshot], target: Path) -> Snapshot:
    """The checkpoint of an adapter, written to the empty folder `target`; `fetch` provides a base model elsewhere.

    Raises ModelUnavailableError if the base model is unnamed or cannot be fetched, and if PEFT cannot merge them.
    """
    adapter = source.folder / (spec.adapter or "")
    if not (adapter / ADAPTER).is_file():
        raise ModelUnavailableError(f"{spec.hub_repo} has no adapter {spec.adapter!r}.")
    base = source.folder if spec.adapter else fetch(_base_of(spec, adapter)).folder
    try:
        _merge(spec, base, adapter, target)
    except ModelUnavailableError:
        raise
    except Exception as error:  # any class of two libraries may fail
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelUnavailableError(f"The adapter {spec.repo} cannot be merged ({reason}).") from error
    own = _settings(source.folder)
    tokenizer = [] if any(map(_is_tokenizer, own)) else filter(_is_tokenizer, _settings(base))
    for folder, names in ((source.folder, own), (base, tokenizer)):
        for name in names:
            copy(folder / name, target / name)
    return replace(source, folder=target, private=True)


def _settings(folder: Path) -> list[str]:
    """The files of a repository beside the network: its tokenizer, modules and prompts."""
    names = needed_files(shallow_files(folder))
    return [name for name in names if "/" in name or not name.startswith(_NETWORK)]


def _is_tokenizer(name: str) -> bool:
    return _TOKENIZERS.fullmatch(name) is not None


def _base_of(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The block of the base model that the adapter names."""
    try:
        config = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        repo, revision = config.get("base_model_name_or_path"), config.get("revision")
    except (ValueError, AttributeError) as error:
        raise ModelUnavailableError(f"{spec.repo}: {ADAPTER} cannot be read.") from error
    if not isinstance(repo, str) or not REPOSITORY.fullmatch(repo):
        raise ModelUnavailableError(
            f"{spec.repo} is an adapter whose {ADAPTER} names no repository as its base model. Set "
            "base_model_name_or_path to one such as org/name, or merge the adapter."
        )
    pinned = None if revision in (None, "", "main") else str(revision)
    if pinned and not COMMIT.fullmatch(pinned):
        raise ModelUnavailableError(f"{spec.repo}: the revision of the base model in {ADAPTER} must be a commit.")
    return ModelSpec(name=repo.rpartition("/")[2].lower(), repo=repo, revision=pinned, kind=spec.kind)


def _merge(spec: ModelSpec, base: Path, adapter: Path, target: Path) -> None:
    """Write config.json and float32 weights. In 16 bits, the sum of both would lose a part of the adapter."""
    import torch
    import transformers
    from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft, about keys; they are checked below
        config = PeftConfig.from_pretrained(str(adapter))
        kind: Any = getattr(transformers, _CLASSES.get(str(config.task_type), "AutoModel"))
        options = {"num_labels": 1} if config.task_type == "SEQ_CLS" else {}
        network = kind.from_pretrained(base, dtype=torch.float32, local_files_only=True, **options)
        model: Any = PeftModel(network, config)
        weights = load_peft_weights(str(adapter), device="cpu")
        loaded: Any = set_peft_model_state_dict(model, weights)
        unused = loaded.unexpected_keys
        if unused or not hasattr(model, "merge_and_unload"):
            what = f"its weights do not fit the base model: {unused[0]}" if unused else f"{config.peft_type}"
            raise ModelUnavailableError(f"The adapter {spec.repo} cannot be merged ({what}).")
        model.merge_and_unload(safe_merge=True).save_pretrained(target)
