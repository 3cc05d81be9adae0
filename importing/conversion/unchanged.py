"""Repositories that sentence-transformers runs: their own files, with weights as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights, read_json
from importing.conversion.inspect import measure_weights, read_modules
from importing.conversion.outputs import recognise
from importing.download import CARD
from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.files import copy, relative_files
from runners.backends.sentence_transformers import SentenceModel
from runners.contracts import TokenSequence
from runners.devices import Device, memory_bytes
from runners.pool.capacity import memory_needed
from runners.text.truncation import UNLIMITED

CPU = Device("cpu", "cpu", "float32", 1)
_WEIGHTS = (".safetensors", ".bin")
_WEIGHT_INDEX = ".index.json"
_MODULES = (
    *("Transformer", "StaticEmbedding", "WordEmbeddings", "BoW", "Router", "Asym"),
    *("Pooling", "WeightedLayerPooling", "Dense", "LayerNorm", "Normalize", "Dropout"),
    *("CNN", "LSTM", "WordWeights", "LogitScore"),
)
"""Classes that modules.json may name: a name decides which attribute of the library is called."""


def convert(spec: ModelSpec, source: Path, target: Path, revision: str, reason: str) -> ModelFacts:
    """Write the repository into `target` and load it once; ModelUnavailableError if that needs remote code or fails."""
    _check_classes(spec, source)
    if spec.kind == "embedding" and (spec.outputs or recognise(source)) not in ((), ("dense",)):
        raise ModelUnavailableError(f"{spec.repo} returns more than dense vectors, for which there is no other engine.")
    copy_settings(source, target)
    folders = sorted({Path(name).parent for name in relative_files(source) if name.endswith(_WEIGHTS)})
    for folder in folders:
        (target / folder).mkdir(parents=True, exist_ok=True)
        link_weights(source / folder, target / folder)
    parameters, weight_bytes, dtype = measure_weights(*(target / folder for folder in folders))
    if memory_needed(parameters, "float32") > memory_bytes(CPU):
        raise ModelUnavailableError(f"{spec.repo} does not fit into this machine's memory in float32.")
    model = load(spec, target)
    names = read_json(target / "config.json").get("architectures")
    try:
        rows = model.rows([TokenSequence([0] * 2, [0] * 2 if model.has_segments else None)])
        if spec.kind == "reranker" and rows.shape[1] != 1:
            raise ModelUnavailableError(f"{spec.repo} is refused: a reranker must have 1 logit, not {rows.shape[1]}.")
        limit = model.max_tokens or UNLIMITED
        return ModelFacts(
            repo=spec.repo,
            revision=revision,
            architecture=str(names[0]) if isinstance(names, list) and names else model.input_name,
            max_tokens=min(spec.max_tokens or UNLIMITED, limit),
            dimensions=rows.shape[1] if spec.kind == "embedding" else None,
            vocabulary=model.vocabulary,
            token_type_ids=model.has_segments,
            parameters=parameters,
            weight_dtype=dtype,
            weight_bytes=weight_bytes,
            sha256={},
            engine="sentence-transformers",
            engine_reason=reason,
        )
    finally:
        model.close()


def copy_settings(source: Path, target: Path) -> None:
    """Copy all files but the weights and the heads of bge-m3, which are pickles; ours are safetensors."""
    for name in relative_files(source):
        if not name.endswith((*_WEIGHTS, _WEIGHT_INDEX, "_linear.pt", CARD)):
            copy(source / name, target / name)


def load(spec: ModelSpec, folder: Path) -> SentenceModel:
    """The model; ModelUnavailableError with the library's reason if it cannot be loaded."""
    try:
        return SentenceModel(folder, spec, torch.device("cpu"))
    except Exception as error:  # any class of several libraries may fail
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
        raise ModelUnavailableError(f"sentence-transformers cannot load {spec.repo} ({reason}).") from error


def _check_classes(spec: ModelSpec, source: Path) -> None:
    modules = read_modules(source)
    names = [str(module["type"]) for module in modules]
    for router in (*source.rglob("router_config.json"), *source.rglob("config.json")):
        types = read_json(router).get("types")
        names += map(str, types.values()) if isinstance(types, dict) else []
    for name in names:
        package, _, kind = name.rpartition(".")
        if package.split(".")[0] != "sentence_transformers":
            raise ModelUnavailableError(f"{spec.repo} needs remote code ({name}), which is not run.")
        if kind not in _MODULES:
            raise ModelUnavailableError(f"{spec.repo}: modules of class {kind!r} are not supported.")
    if any("Transformer" in name for name in names) and not list(source.rglob("config.json")):
        raise ModelUnavailableError(f"{spec.repo} has no config.json.")
