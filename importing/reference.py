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

from importing.probes import Probe
from importing.token_outputs import Found, sparse_of
from models.catalog import ModelSpec, Output
from models.facts import REFERENCE
from models.files import relative_files
from models.store import StoredModel
from runners.contracts import SparseVector

WEIGHTS = "model.safetensors"

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


_Outputs = dict[Output, Found]
"""Of one text or pair; dense: a (1, D) vector, or a (1, 1) logit."""


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
        _restore_layout(Path(work))
        yield Path(work)


def _restore_layout(work: Path) -> None:
    """Undo what the conversion of sparse and multi-vector models moved."""
    from safetensors.torch import load_file, save_file

    from importing.conversion.outputs import PROJECTION, encoder_folder, is_stanford

    if (network := encoder_folder(work)) != work:
        (work / WEIGHTS).rename(network / WEIGHTS)
    if is_stanford(work):
        weights = load_file(work / WEIGHTS) | load_file(work / PROJECTION / WEIGHTS)
        (work / WEIGHTS).unlink()
        save_file(weights, work / WEIGHTS, metadata={"format": "pt"})


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

    def __init__(self, folder: Path, spec: ModelSpec, stored: StoredModel, options: dict[str, Any]) -> None:
        import torch
        from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        from importing.conversion.checkpoint import read_json
        from runners.text.truncation import position_limit

        self.by = f"{NAME} {importlib.metadata.version(NAME)}"
        self._pairs = spec.kind == "reranker"
        self._folder = folder
        self._output_names: tuple[Output, ...] = stored.facts.outputs
        kinds: dict[tuple[Output, ...], Any] = {("sparse",): SparseEncoder, ("multi_vector",): MultiVectorEncoder}
        kind = CrossEncoder if self._pairs else kinds.get(stored.facts.outputs, SentenceTransformer)
        torch.manual_seed(_SEED)
        with _described("load it"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model: Any = kind(
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
            if stored.facts.document_rules is not None:
                self._model[0].document_length = stored.facts.document_rules.max_tokens
        if isinstance(self._model, SentenceTransformer) and not (folder / "modules.json").is_file():
            for module in self._model:  # a bare encoder: the library does not know the catalogue's pooling
                if isinstance(module, Pooling):
                    module.pooling_mode = {"last": "lasttoken"}.get(str(stored.facts.pooling), stored.facts.pooling)
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

    def outputs(self, probes: Sequence[Probe]) -> list[_Outputs]:
        """The outputs of the model for each probe."""
        places: dict[tuple[str | None, str | None, bool], list[int]] = {}
        for place, probe in enumerate(probes):
            places.setdefault((probe.side, self._chosen(probe), probe.is_long), []).append(place)
        found: dict[int, _Outputs] = {}
        for (side, prompt, is_long), group in places.items():
            items = 1 if is_long else _BATCH_ITEMS  # else, the library pads short texts to a long one
            with _described("compute a text"):
                part = self._compute([probes[place].text for place in group], side, prompt, items)
            found |= dict(zip(group, part, strict=True))
        return [found[place] for place in range(len(probes))]

    def _chosen(self, probe: Probe) -> str | None:
        """The prompt for a probe: the repository's, else the catalogue's. None: the library's own default."""
        if self._pairs:
            return probe.prompt or self._default
        found = self.prompt(probe)
        return probe.prompt if found is None else found

    def _compute(self, texts: Sequence[Any], side: str | None, prompt: str | None, items: int) -> list[_Outputs]:
        """The outputs of texts with the same prompt, in batches of at most `items` texts."""
        import torch

        options: dict[str, Any] = {"batch_size": items, "show_progress_bar": False}
        if self._pairs:
            rows = self._model.predict(texts, prompt=prompt, activation_fn=torch.nn.Identity(), **options)
            return [{"dense": row} for row in np.asarray(rows, dtype=np.float64).reshape(len(texts), 1, -1)]
        encode = {"query": self._model.encode_query, "document": self._model.encode_document}.get(
            side or "", self._model.encode
        )
        options |= {"prompt": prompt or ""}
        if self._output_names == ("sparse",):
            rows = encode(list(texts), convert_to_sparse_tensor=False, **options)
            return [{"sparse": sparse_of(row.numpy())} for row in rows]
        if self._output_names == ("multi_vector",):
            rows = encode(list(texts), convert_to_numpy=True, **options)
            return [{"multi_vector": np.asarray(row, dtype=np.float64)} for row in rows]
        if self._output_names == ("dense",):
            return [{"dense": row} for row in np.asarray(encode(list(texts), **options), dtype=np.float64)[:, None]]
        return [self._all_of(features) for features in encode(list(texts), output_value=None, **options)]

    def _all_of(self, features: dict[str, Any]) -> _Outputs:
        """The outputs of one text of a model with several."""
        real = features["attention_mask"].bool()
        ids, states = features["input_ids"][real].tolist(), features["token_embeddings"][real]
        found: _Outputs = {"dense": np.asarray(features["sentence_embedding"], dtype=np.float64)[None]}
        for output in self._output_names:
            if output != "dense":
                found[output] = self._from_states(output, ids, states)
        return found

    def _from_states(self, output: Output, ids: list[int], states: Any) -> Found:
        """The heads of bge-m3 by FlagEmbedding's definitions: `_sparse_embedding` and `_colbert_embedding` of its
        `EncoderOnlyEmbedderM3ModelForInference`, and `_process_token_weights` of `M3Embedder`.
        """
        import torch
        from safetensors.torch import load_file

        from runners.networks.build import SPARSE_LINEAR, VECTORS_LINEAR

        head = load_file(self._folder / (SPARSE_LINEAR if output == "sparse" else VECTORS_LINEAR))
        found = states.float() @ head["weight"].float().T + head["bias"].float()
        if output == "multi_vector":
            return np.asarray(torch.nn.functional.normalize(found[1:], dim=-1), dtype=np.float64)
        tokenizer = self._model.tokenizer
        unused = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
        weights: dict[int, float] = {}
        for token, weight in zip(ids, found.relu()[:, 0].tolist(), strict=True):
            if token not in unused and weight > weights.get(token, 0):
                weights[token] = weight
        indices = sorted(weights)
        return SparseVector(
            np.array(indices, dtype=np.int32), np.array([weights[each] for each in indices], np.float32)
        )
