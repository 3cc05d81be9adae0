"""The reference of an import: sentence-transformers on the repository's own files, in float32 on the CPU."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from importing.probes import Probe
from models.catalog import ModelSpec
from models.facts import REFERENCE
from models.files import relative_files
from models.store import StoredModel

Numbers = NDArray[np.float64]

NAME = "sentence-transformers"
_SIDE_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""encode_query and encode_document use the first of these names that a model has."""
_BATCH_ITEMS = 8
_SEGMENTS = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
_XLM_ROBERTA = {"tokenizer_type": "xlm-roberta"}
_AS_STORED = {"tokenizer_type": "modernbert"}
"""This class of transformers uses tokenizer.json unchanged. For some repositories, such as ruri-v3 with LlamaTokenizer,
other classes build a tokenizer whose ids differ from those of the training."""
_SEED = 20261128
"""Weights that a checkpoint lacks are random. With a seed of its own, the reference has others than the engine."""


class ReferenceFailedError(Exception):
    """The library cannot load the model, or fails on a text."""


@contextmanager
def _described(action: str) -> Iterator[None]:
    """Turn any error into a ReferenceFailedError; several libraries may fail in any way."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise ReferenceFailedError(f"{NAME} cannot {action} ({type(error).__name__}: {reason})") from error


def unverifiable(spec: ModelSpec, stored: StoredModel) -> str | None:
    """Why a model cannot be compared with sentence-transformers; None if it can."""
    if spec.conversion != "native":
        return "sentence-transformers needs remote code to run it"
    if stored.facts.engine == "own" and not (stored.folder / REFERENCE).is_dir():
        return "it was imported by an earlier version"
    if spec.tokenizer.append_eos is not None:
        return "sentence-transformers does not append its end-of-text token"
    if spec.scoring is not None and not (stored.folder / REFERENCE / "modules.json").is_file():
        return "its repository does not define its scores for sentence-transformers"
    return None


@contextmanager
def original_files(stored: StoredModel) -> Iterator[Path]:
    """A folder with the repository's own files beside the stored weights, as links."""
    if stored.facts.engine == "sentence-transformers":
        yield stored.folder
        return
    small = stored.folder / REFERENCE
    with TemporaryDirectory() as work:
        weights = [name for name in relative_files(stored.folder) if name.endswith((".safetensors", ".index.json"))]
        for folder, names in ((stored.folder, weights), (small, relative_files(small))):
            for name in names:
                link = Path(work) / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(folder / name)
        yield Path(work)


def tokenizer_options(spec: ModelSpec, stored: StoredModel) -> list[dict[str, Any]]:
    """Options with which the library may read the tokenizer; the catalogue's corrections apply to it, too."""
    if spec.tokenizer.backend == "bert-japanese":
        return [_SEGMENTS]
    if spec.tokenizer.backend == "xlm-roberta":
        return [_XLM_ROBERTA]
    as_stored = stored.facts.engine == "own" and (stored.folder / REFERENCE / "tokenizer.json").is_file()
    return [{}, _AS_STORED] if as_stored else [{}]


class Reference:
    """A SentenceTransformer or CrossEncoder."""

    def __init__(self, folder: Path, spec: ModelSpec, options: dict[str, Any]) -> None:
        import torch
        from sentence_transformers import CrossEncoder, SentenceTransformer
        from sentence_transformers.base.modules import Transformer

        from importing.conversion.checkpoint import read_json
        from runners.text.truncation import position_limit

        self.by = f"{NAME} {importlib.metadata.version(NAME)}"
        self._pairs = spec.kind == "reranker"
        torch.manual_seed(_SEED)
        with _described("load it"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model: Any = (CrossEncoder if self._pairs else SentenceTransformer)(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.float32},
                processor_kwargs=options or None,
            )
        if isinstance(self._model[0], Transformer):  # the library's limit may exceed the position table, and then fail
            limit = spec.max_tokens or self._model.max_seq_length
            self._model.max_seq_length = min(limit, position_limit(read_json(folder / "config.json")))
        default = self._model.default_prompt_name
        self._default = self._model.prompts.get(default) if default else None

    def prompt(self, probe: Probe) -> str | None:
        """The prompt that the repository defines for a probe; None if it defines none."""
        names = _SIDE_PROMPTS[probe.side] if probe.side else (probe.prompt_name,)
        return next((text for name in names if name and (text := self._model.prompts.get(name))), None)

    def tokens(self, probe: Probe) -> list[int]:
        """The token ids that the network gets."""
        prompt = self._chosen(probe)
        options = {"task": probe.side} if probe.side else {}
        with _described("tokenize a text"):
            features = self._model.preprocess([probe.text], prompt=prompt or None, **options)
        if "input_ids" not in features:  # a bag of words
            return [int(each) for each in self._model[0].tokenizer.tokenize(f"{prompt or ''}{probe.text}")]
        ids: list[int] = features["input_ids"].reshape(-1).tolist()
        return ids[: int(features["sentence_lengths"][0])] if "sentence_lengths" in features else ids

    def rows(self, probes: Sequence[Probe]) -> Numbers:
        """(N, D) vectors, or (N, 1) logits."""
        places: dict[tuple[str | None, str | None], list[int]] = {}
        for place, probe in enumerate(probes):
            places.setdefault((probe.side, self._chosen(probe)), []).append(place)
        rows: dict[int, Numbers] = {}
        for (side, prompt), group in places.items():
            with _described("compute a text"):
                part = self._compute([probes[place].text for place in group], side, prompt)
            rows |= dict(zip(group, part, strict=True))
        return np.stack([rows[place] for place in range(len(probes))])

    def _chosen(self, probe: Probe) -> str | None:
        """The prompt for a probe: the repository's, else the catalogue's. None: the library's own default."""
        if self._pairs:
            return probe.prompt or self._default
        found = self.prompt(probe)
        return probe.prompt if found is None else found

    def _compute(self, texts: Sequence[Any], side: str | None, prompt: str | None) -> Numbers:
        import torch

        if self._pairs:
            rows = self._model.predict(
                texts,
                prompt=prompt,
                activation_fn=torch.nn.Identity(),
                batch_size=_BATCH_ITEMS,
                show_progress_bar=False,
            )
            return np.asarray(rows, dtype=np.float64).reshape(len(texts), -1)
        encode = {"query": self._model.encode_query, "document": self._model.encode_document}.get(
            side or "", self._model.encode
        )
        vectors = encode(list(texts), prompt=prompt or "", batch_size=_BATCH_ITEMS, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float64)
