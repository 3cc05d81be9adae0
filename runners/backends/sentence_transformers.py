"""The sentence-transformers engine: runs a model exactly as that library does, in float32 and without remote code.

It serves the models that the other engines do not support, and is slower: it tokenizes texts one at a time, and pads.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import BoW, Pooling, StaticEmbedding, WordEmbeddings

from errors import InvalidRequestError, ModelUnavailableError
from models.catalog import ModelSpec, Side
from models.facts import ModelFacts
from runners.backends.footprint import LayerWidths
from runners.contracts import SIDE_IDS, BatchShape, Rows, TextOutputs, TokenSequence, TokenSequences
from runners.devices import Device
from runners.text.truncation import UNLIMITED, position_limit

logger = logging.getLogger("service.models")

_SIDES: tuple[Side | None, ...] = (None, "query", "document")
_WHOLE = {"text": {"truncation": False}}
"""Options of a call that does not truncate."""

_computing: dict[Path, SentenceModel] = {}
"""Models of this process's backends, by folder; their tokenizers use the same objects."""


class SentenceModel:
    """A SentenceTransformer or CrossEncoder: texts to token sequences, and token sequences to rows."""

    def __init__(self, folder: Path, spec: ModelSpec, device: torch.device) -> None:
        kind = SentenceTransformer if spec.kind == "embedding" else CrossEncoder
        self.model = kind(
            str(folder),
            device=str(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": torch.float32},
        ).eval()
        self._device = device
        self._router = self.model[0] if isinstance(self.model[0], Router) else None
        self.any_side = self._any_side()
        self._input = self._input_of(self.any_side)
        self._masks_prompt = any(isinstance(part, Pooling) and not part.include_prompt for part in self.model.modules())
        default = self.model.default_prompt_name
        self._default_prompt = self.model.prompts.get(default, "") if default and spec.kind == "reranker" else ""
        if not isinstance(self._input, Transformer | WordEmbeddings | StaticEmbedding | BoW):
            raise ModelUnavailableError(f"{spec.repo}: inputs of class {self.input_name!r} are not supported.")
        if isinstance(self.model[0], Transformer):  # the library's limit may exceed the position table, and then fail
            limit = spec.max_tokens or self.model.max_seq_length
            self.model.max_seq_length = min(limit, position_limit(self.model[0].config.to_dict()))

    @property
    def input_name(self) -> str:
        """Class of the module that reads texts."""
        return type(self._input).__name__

    @property
    def max_tokens(self) -> int | None:
        """The token limit, the lowest one of a Router's networks; None if there is none."""
        routes = [self.model[0]] if self._router is None else [route[0] for route in self._router.sub_modules.values()]
        limits = [getattr(module, "max_seq_length", None) for module in routes]
        return min((int(limit) for limit in limits if limit is not None and limit < UNLIMITED), default=None)

    @property
    def vocabulary(self) -> int:
        """Number of token ids of the module that reads texts."""
        module = self._input
        if isinstance(module, Transformer):
            return int(module.config.get_text_config().vocab_size)
        if isinstance(module, BoW):
            return len(module.vocab)
        return int((module.embedding if isinstance(module, StaticEmbedding) else module.emb_layer).num_embeddings)

    @property
    def has_segments(self) -> bool:
        """Whether its sequences have segment ids."""
        text = "a" if isinstance(self.model, SentenceTransformer) else ("a", "a")
        return self.sequence(text, side=self.any_side).token_type_ids is not None

    def sequence(
        self, text: str | tuple[str, str], prompt: str = "", side: Side | None = None, *, whole: bool = False
    ) -> TokenSequence:
        """A text or a pair as a sequence; truncated unless `whole`.

        InvalidRequestError if the model has no network for this side of a search.
        """
        number = _SIDES.index(side)
        module = self._input_of(side)
        prompt = prompt or self._default_prompt
        options: dict[str, Any] = {"processing_kwargs": _WHOLE} if whole else {}
        features = self.model.preprocess([text], prompt=prompt or None, **options, **_task(side))
        ids, segments = _ids(module, features, prompt, text)
        unpooled = int(features.get("prompt_length") or 0) if self._masks_prompt else 0
        return TokenSequence([each + number * SIDE_IDS for each in ids], segments, unpooled)

    @torch.inference_mode()
    def rows(self, sequences: TokenSequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        places: dict[tuple[int, int], list[int]] = {}
        for place, sequence in enumerate(sequences):
            number = sequence.input_ids[0] // SIDE_IDS if sequence.input_ids else 0
            places.setdefault((number, sequence.unpooled), []).append(place)
        rows: Rows | None = None
        for (number, unpooled), group in places.items():
            part = self._rows([sequences[place] for place in group], _SIDES[number] or self.any_side, unpooled)
            if rows is None:
                rows = np.empty((len(sequences), part.shape[1]), dtype=np.float32)
            rows[group] = part
        assert rows is not None
        return rows

    def close(self) -> None:
        """Drop the network and return its memory."""
        del self.model, self._router, self._input
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def tokens(self, sequence: TokenSequence) -> list[tuple[int, str, bool]]:
        """Id, text and whether it is special, of each token of a sequence."""
        ids = [each % SIDE_IDS for each in sequence.input_ids]
        module = self._input
        if isinstance(module, Transformer):
            pieces, special = module.tokenizer.convert_ids_to_tokens(ids), set(module.tokenizer.all_special_ids)
            return [(each, str(piece), each in special) for each, piece in zip(ids, pieces, strict=True)]
        if isinstance(module, StaticEmbedding):
            return [(each, str(module.tokenizer.id_to_token(each)), False) for each in ids]
        words = list(module.tokenizer.get_vocab())
        return [(each, str(words[each]), False) for each in ids]

    def cut_start(self, *, at_start: bool) -> None:
        """Choose the side on which `sequence` truncates. Only tokenizers of transformers can cut off the start."""
        if isinstance(self._input, Transformer):
            self._input.tokenizer.truncation_side = "left" if at_start else "right"

    def _any_side(self) -> Side | None:
        """A side that every model has: None, unless a Router needs one."""
        if self._router is None:
            return None
        return next(side for side in _SIDES if self._has(side))

    def _has(self, side: Side | None) -> bool:
        try:
            self._input_of(side)
        except InvalidRequestError:
            return False
        return True

    def _input_of(self, side: Side | None) -> Any:
        """The module that reads the texts of a side."""
        if self._router is None:
            return self.model[0]
        try:
            route = self._router._resolve_route(task=side, modality="text")
        except ValueError:
            raise InvalidRequestError(
                "This model has separate networks for queries and documents. Set input_type to query or document.",
                param="input_type",
            ) from None
        return self._router.sub_modules[route][0]

    def _rows(self, sequences: TokenSequences, side: Side | None, unpooled: int) -> Rows:
        plain = [[each % SIDE_IDS for each in sequence.input_ids] for sequence in sequences]
        features = _features(self._input_of(side), plain, sequences)
        if unpooled:
            features["prompt_length"] = unpooled
        if self._router is not None:
            features |= {"modality": "text", **_task(side)}
        features = {
            name: value.to(self._device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        found = self.model(features, **_task(side))
        if isinstance(self.model, CrossEncoder):
            scores = found["scores"]
            rows = scores if scores.ndim > 1 else scores[:, None]
        else:
            rows = found["sentence_embedding"][:, : self.model.truncate_dim]
        return cast(Rows, rows.float().cpu().numpy())


def _task(side: Side | None) -> dict[str, Any]:
    return {} if side is None else {"task": side}


def _ids(module: Any, features: Any, prompt: str, text: Any) -> tuple[list[int], list[int] | None]:
    """Ids, and segment ids if there are any, of the features of one input."""
    if isinstance(module, BoW):  # its features are the vector
        return [int(each) for each in module.tokenizer.tokenize(prompt + text)], None
    ids = features["input_ids"].reshape(-1).tolist()
    if isinstance(module, WordEmbeddings):
        return ids[: int(features["sentence_lengths"][0])], None
    segments = features.get("token_type_ids") if isinstance(module, Transformer) else None
    return ids, None if segments is None else segments.reshape(-1).tolist()


def _features(module: Any, ids: list[list[int]], sequences: TokenSequences) -> dict[str, Any]:
    """The features that the module's `preprocess` returns for these inputs."""
    if isinstance(module, BoW):
        return dict(module.get_sentence_features(ids))
    if isinstance(module, StaticEmbedding):
        starts = np.cumsum([0, *map(len, ids[:-1])])
        flat = [each for row in ids for each in row]
        return {"input_ids": torch.tensor(flat, dtype=torch.long), "offsets": torch.from_numpy(starts)}
    if isinstance(module, WordEmbeddings):
        width = max(1, *map(len, ids))
        return {
            "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
            "sentence_lengths": torch.tensor([len(row) for row in ids]),
        }
    inputs: dict[str, list[list[int]]] = {"input_ids": ids}
    segments = [sequence.token_type_ids for sequence in sequences]
    if segments[0] is not None:
        inputs["token_type_ids"] = [each or [] for each in segments]
    features = dict(module.tokenizer.pad(inputs, return_tensors="pt"))
    features["modality"] = "message" if "message" in module.modality_config else "text"
    if module.transformer_task == "text-generation":
        features["logits_to_keep"] = 1
    return features


def tokenizing_model(folder: Path, spec: ModelSpec) -> SentenceModel:
    """The model of this process's backend; without one, a model whose weights are dropped."""
    model = _computing.get(folder)
    if model is None:
        model = SentenceModel(folder, spec, torch.device("cpu"))
        model.model.to("meta")
    return model


class SentenceTransformersBackend:
    """A model that sentence-transformers runs."""

    padding_cost = 1.0
    concurrent_passes = 1
    dtype = weights_dtype = "float32"
    second_forward = None

    def __init__(self, folder: Path, spec: ModelSpec, facts: ModelFacts, device: Device) -> None:
        if device.platform == "cpu":
            torch.set_num_threads(device.threads)
        self._on_cpu = device.platform == "cpu"
        logger.warning("%s is run by sentence-transformers, which is slower: %s", spec.name, facts.engine_reason)
        self._folder = folder
        self._model = _computing[folder] = SentenceModel(folder, spec, torch.device(device.torch_name))
        self._widths = _widths(folder)
        self.memory_bytes = sum(tensor.nbytes for tensor in self._model.model.state_dict().values())
        self.name = f"sentence-transformers float32 on {device.platform}"

    def forward(self, sequences: TokenSequences) -> Rows:
        """B sequences -> (B, D) vectors or (B, 1) logits."""
        return self._model.rows(sequences)

    def forward_exact(self, sequences: TokenSequences) -> Rows:
        """The same: it always computes in float32."""
        return self._model.rows(sequences)

    def outputs(self, sequences: TokenSequences, *, exact: bool = False) -> list[TextOutputs]:
        """The rows: it computes dense vectors only, always in float32."""
        del exact
        return [TextOutputs(dense=row) for row in self._model.rows(sequences)]

    def pass_bytes(self, size: BatchShape) -> int:
        """Estimated on a CPU, with the states of all layers, which some models keep; 0 on a GPU."""
        return 2 * self._widths.torch_bytes(size, packed=False) if self._on_cpu else 0

    def close(self) -> None:
        """Drop the model."""
        _computing.pop(self._folder, None)
        self._model.close()


def _widths(folder: Path) -> LayerWidths:
    """Sizes of the layers; usual ones for models that are no transformers."""
    configs = [path for path in (folder / "config.json", *sorted(folder.rglob("config.json"))) if path.is_file()]
    found = [path for path in configs if '"hidden_size"' in path.read_text(encoding="utf-8")]
    return LayerWidths.read((found or configs)[0].parent) if configs else LayerWidths(1024, 4096, 16, 64)
