"""Read facts from a checkpoint's files that the catalogue does not give: limits, pooling, layers, sizes."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open

from errors import ModelUnavailableError, UnsupportedModelError
from importing.conversion.checkpoint import read_json
from importing.conversion.outputs import PROJECTION, Layout, encoder_folder, read_layout, recognise
from importing.conversion.scoring import read_scoring
from importing.conversion.tokenizer import closing_ids
from models.catalog import ModelSpec, Pooling
from models.facts import ModelFacts
from runners.networks.checkpoint import safetensors_files
from runners.text.truncation import UNLIMITED, position_limit

_POOLING_FLAGS: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_LAYERS = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "LogitScore")
"""Classes of sentence-transformers that modules.json may name; a repository's own class would be remote code."""
_DENSE_KEYS: dict[str, tuple[object, ...]] = {
    "module_input_name": (None, "sentence_embedding"),
    "module_output_name": (None, "sentence_embedding", "scores"),
}
"""Keys of a Dense layer's config.json, and their supported values."""
_FOLDER = re.compile(r"\w[\w.-]*")
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "I8": 1, "BOOL": 1}


def inspect_checkpoint(spec: ModelSpec, source: Path, target: Path, revision: str) -> ModelFacts:
    """The facts of the converted folder `target`; some come from the original folder `source`."""
    config = read_json(target / "config.json")
    if config.get("is_encoder_decoder"):
        raise UnsupportedModelError(f"{spec.repo} has an encoder and a decoder.")
    embedding = spec.kind == "embedding"
    max_tokens = _max_tokens(spec, encoder_folder(source), config)
    layout = Layout(())
    if embedding:
        layout = read_layout(spec, source, target, max_tokens=max_tokens, positions=position_limit(config))
    dense = "dense" in layout.outputs
    layers = layout.layers or (() if embedding and not dense else _layers_after_pooling(source, spec))
    pooled = embedding or bool(layers)  # a reranker has layers of its own only if its repository names them
    scoring = None if pooled or spec.scoring else read_scoring(source, config)
    architecture = _architecture(spec, config, pooled=pooled, prompted=spec.scoring is not None or scoring is not None)
    if layout.outputs == ("sparse",) and not architecture.endswith("ForMaskedLM"):
        raise ModelUnavailableError(f"{spec.repo}: a sparse model must be a masked language model, not {architecture}.")
    written = target if (target / PROJECTION).is_dir() else source
    parameters, weight_bytes, dtype = measure_weights(target)
    return ModelFacts(
        repo=spec.repo,
        revision=revision,
        architecture=architecture,
        max_tokens=layout.document_rules.max_tokens if layout.document_rules else max_tokens,
        dimensions=_dimensions(spec, written, config, layout, layers) if embedding else None,
        outputs=layout.outputs,
        sparse=layout.sparse,
        multi_vector=layout.multi_vector,
        query_rules=layout.query_rules,
        document_rules=layout.document_rules,
        pooling=_pooling(spec, source) if pooled and (dense or not embedding) else None,
        mask_prompt=dense and _masks_prompt(spec, source),
        dense=layers,
        scoring=scoring,
        token_type_ids=_has_segments(config),
        vocabulary=_size(spec, config, "vocab_size"),
        pad_id=_pad_id(config),
        closing_ids=closing_ids(source, target) if spec.tokenizer.append_eos else (),
        parameters=parameters,
        weight_dtype=dtype,
        weight_bytes=weight_bytes,
        sha256={},
    )


def _architecture(spec: ModelSpec, config: dict[str, object], *, pooled: bool, prompted: bool) -> str:
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    if pooled:
        supported = name.endswith(("Model", "ForMaskedLM", "ForTextEncoding", "ForCausalLM"))
        expected = "an encoder (...Model or ...ForMaskedLM)"
    elif prompted:
        supported, expected = name.endswith("ForCausalLM"), "a causal language model (...ForCausalLM)"
    else:
        supported, expected = name.endswith("ForSequenceClassification"), "a classifier (...ForSequenceClassification)"
    if not supported:
        raise ModelUnavailableError(
            f"{spec.repo}: the architecture in config.json is {name or 'none'!r}, but a model of kind {spec.kind!r} "
            f"must be {expected}. Any other would be served with random weights."
        )
    return name


def _max_tokens(spec: ModelSpec, source: Path, config: dict[str, object]) -> int:
    limit = position_limit(config)
    if spec.max_tokens:
        return min(spec.max_tokens, limit)
    configured = [  # sentence-transformers ignores the second if there is the first
        read_json(source / "sentence_bert_config.json").get("max_seq_length"),
        read_json(source / "tokenizer_config.json").get("model_max_length"),
    ]
    limits = [value for value in (*configured, limit) if isinstance(value, int) and 0 < value < UNLIMITED]
    if not limits:
        raise UnsupportedModelError(f"{spec.repo}: no file gives its token limit. Set max_tokens in the catalogue.")
    return min(limits[0], limit)


def _pooling(spec: ModelSpec, source: Path) -> Pooling:
    config = read_json(source / "1_Pooling" / "config.json")
    if not config:
        # FlagEmbedding's default for models with several outputs, and sentence-transformers' for a bare encoder
        return spec.pooling or ("cls" if len(recognise(source)) > 1 else "mean")
    mode = config.get("pooling_mode")
    chosen = [pooling for flag, pooling in _POOLING_FLAGS.items() if config.get(flag)]
    if isinstance(mode, str) and not chosen:
        chosen = [cast(Pooling, {"lasttoken": "last"}.get(mode, mode))]
    if len(chosen) != 1 or chosen[0] not in _POOLING_FLAGS.values():
        raise UnsupportedModelError(
            f"{spec.repo}: the pooling in 1_Pooling/config.json must be one of cls, mean and last token."
        )
    return chosen[0]


def _masks_prompt(spec: ModelSpec, source: Path) -> bool:
    """Whether pooling excludes the prompt, which does not matter to the last token.

    Only NV-Embed's way of counting prompt tokens is supported; sentence-transformers also counts the start token.
    """
    masks = read_json(source / "1_Pooling" / "config.json").get("include_prompt") is False
    if masks and _pooling(spec, source) != "last" and spec.conversion != "nv_embed":
        raise UnsupportedModelError(f"{spec.repo}: include_prompt: false is not supported.")
    return spec.conversion == "nv_embed"


def _layers_after_pooling(source: Path, spec: ModelSpec) -> tuple[str, ...]:
    """Folders of the Dense and LayerNorm layers that modules.json names, in order."""
    layers: list[str] = []
    for module in read_modules(source):
        package, _, kind = str(module["type"]).rpartition(".")
        path = str(module["path"])
        if package.split(".")[0] != "sentence_transformers" or kind not in _LAYERS:
            raise UnsupportedModelError(
                f"{spec.repo}: modules.json names a layer {kind!r} of {package!r}, which is not supported."
            )
        if kind in ("Dense", "LayerNorm"):
            if not _FOLDER.fullmatch(path):  # must not lead outside the checkpoint
                raise ModelUnavailableError(f"{spec.repo}: modules.json names {path!r}, which is not a subfolder.")
            config = read_json(source / path / "config.json")
            if any(config.get(key) not in values for key, values in _DENSE_KEYS.items()):
                raise UnsupportedModelError(f"{spec.repo}: {path} is not a plain layer after the pooling.")
            layers.append(path)
    return tuple(layers)


def read_modules(source: Path) -> list[dict[str, Any]]:
    """The content of modules.json; empty without that file."""
    modules = source / "modules.json"
    if not modules.is_file():
        return []
    return cast(list[dict[str, Any]], json.loads(modules.read_text(encoding="utf-8")))


def _dense_width(source: Path, layers: tuple[str, ...]) -> int | None:
    """The width of the last layer that changes it; None if there is none."""
    widths = [read_json(source / layer / "config.json").get("out_features") for layer in layers]
    return next((width for width in reversed(widths) if isinstance(width, int)), None)


def _dimensions(
    spec: ModelSpec, folder: Path, config: dict[str, object], layout: Layout, layers: tuple[str, ...]
) -> int:
    """The width of vectors; of a sparse model, the size of its vocabulary."""
    if layout.outputs == ("sparse",):
        return _size(spec, config, "vocab_size")
    return _dense_width(folder, layers) or _width(spec, config)


def _width(spec: ModelSpec, config: dict[str, object]) -> int:
    return _size(spec, config, "hidden_size" if config.get("hidden_size") else "d_model")


def _size(spec: ModelSpec, config: dict[str, object], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int):
        raise UnsupportedModelError(f"{spec.repo}: config.json has no {name}.")
    return value


def _pad_id(config: dict[str, object]) -> int:
    pad = config.get("pad_token_id")
    return pad if isinstance(pad, int) and pad >= 0 else 0


def _has_segments(config: dict[str, object]) -> bool:
    size = config.get("type_vocab_size")
    return isinstance(size, int) and size > 1


def measure_weights(*folders: Path) -> tuple[int, int, str]:
    """Number of parameters, bytes and most frequent data type, read from the files' headers."""
    parameters, size, dtypes = 0, 0, Counter[str]()
    for path in (file for folder in folders for file in safetensors_files(folder)):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not iterable by itself
                part = file.get_slice(name)
                count, dtype = prod(part.get_shape()), str(part.get_dtype())
                parameters += count
                size += count * _DTYPE_BYTES.get(dtype, 4)
                dtypes[dtype] += count
    return parameters, size, dtypes.most_common(1)[0][0] if dtypes else "F32"
