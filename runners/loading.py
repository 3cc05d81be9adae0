"""Load a stored model: tokenizer, backend, engine, runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errors import ModelUnavailableError
from models.catalog import ModelSpec
from models.facts import QUERY_TABLE, ModelFacts
from models.store import StoredModel
from runners.batching.costs import (
    SMALLEST_BUDGET,
    TRIAL_TOKENS,
    Costs,
    Trials,
    learn_budget,
    learn_costs,
    widest_budget,
)
from runners.batching.options import BatchingOptions
from runners.compute import Compute, Computes, compute_pass
from runners.contracts import WANTED, Backend, BatchShape, TokenSequence, Wanted
from runners.devices import Device, for_model
from runners.embedding import EmbeddingRunner, OutputRules
from runners.engine import Engine
from runners.loaded_model import LoadedModel
from runners.pool.capacity import KEPT_BYTES, WORKING_SHARE, memory_budget, memory_needed, with_passes
from runners.pool.memory import DeviceMemory, PassMemory
from runners.providers.cohere import CohereReranker
from runners.remote.server import ModelDescription
from runners.rerank import RerankRunner
from runners.text.tokenization import load_tokenizer
from settings import Settings

if TYPE_CHECKING:  # only images for CPUs contain OpenVINO
    from runners.backends.openvino import OpenVINOBackend
    from runners.backends.speed import BackendConfig, MeasuredSpeeds


def load_model(
    spec: ModelSpec,
    stored: StoredModel | None,
    device: Device,
    settings: Settings,
    memory: DeviceMemory | None = None,
    *,
    tokenizer: bool = True,
    measure: bool = True,
) -> LoadedModel:
    """Load a model and warm it up. Blocks for seconds.

    A model that is not stored is forwarded to its provider. Passes share `memory` with those of other models; without
    `memory`, it is unlimited. The engine process needs no `tokenizer`. Only a model that serves requests needs
    `measure`: the size of its passes and their costs come from trials.
    """
    if stored is None:
        return forwarded_model(spec, settings)
    chosen = _chosen(stored, device, settings)
    backend = load_backend(spec, stored, device, settings, chosen)
    memory = memory or DeviceMemory()
    needed = memory_needed(stored.facts.parameters, device.dtype)
    most = settings.max_batch_tokens
    if memory.budget:
        most = _largest_pass(backend, most, memory.budget - int(needed / WORKING_SHARE))
    if measure:
        known = _measured_passes(stored, device, chosen)
        short, wide, costs = _measure(backend, stored.facts, known, most)
    else:
        short = wide = min(SMALLEST_BUDGET, most)
        costs = Costs.assumed(backend.padding_cost)
    budget = _largest_pass(backend, wide, KEPT_BYTES, least=short)
    taken, working = with_passes(max(needed, backend.memory_bytes), backend.pass_bytes(_full_pass(budget)))
    options = BatchingOptions(
        name=spec.name,
        max_batch_tokens=budget,
        short_pass_tokens=short,
        max_queued_tokens=settings.max_queued_tokens,
        padding_cost=backend.padding_cost,
        concurrent_passes=backend.concurrent_passes,
        costs=costs,
        trial=trial_text(stored.facts),
        memory=PassMemory(memory, backend.pass_bytes, model_bytes=taken, included_bytes=working),
    )
    compute = Compute(backend, options)
    loaded = LoadedModel(
        spec,
        None,
        backend.name,
        stored,
        memory_bytes=taken,
        dtype=backend.dtype,
        weights_dtype=backend.weights_dtype,
        compute=compute,
    )
    if not tokenizer:
        return loaded
    try:
        return with_tokenizer(loaded, stored, compute, settings)
    except BaseException:
        compute.close()  # else its threads keep the network
        raise


def with_tokenizer(loaded: LoadedModel, stored: StoredModel, compute: Computes, settings: Settings) -> LoadedModel:
    """The model with its tokenizer and its runner."""
    spec, facts = loaded.spec, stored.facts
    tokenizer = load_tokenizer(stored.folder, spec, facts, settings.max_text_bytes)
    engine = Engine(tokenizer, compute, spec.name, max_queued_characters=settings.max_queued_characters)
    return replace(loaded, engine=engine, runner=_runner(engine, spec, stored))


def remote_model(spec: ModelSpec, description: ModelDescription, compute: Computes, settings: Settings) -> LoadedModel:
    """A model of the engine process with a tokenizer in this one; a forwarded model is called from here."""
    if description.stored is None:
        return forwarded_model(spec, settings)
    loaded = LoadedModel(spec, None, description.memory.backend, description.stored)
    return with_tokenizer(loaded, description.stored, compute, settings)


def forwarded_model(spec: ModelSpec, settings: Settings) -> LoadedModel:
    """A model that its provider computes."""
    forwarded = CohereReranker(spec, settings)
    return LoadedModel(spec, forwarded, "forwarded to Cohere", disconnect=forwarded.close)


def _measure(
    backend: Backend, facts: ModelFacts, known: Mapping[BatchShape, float], most: int
) -> tuple[int, int, Costs]:
    """Tokens of short and of wide passes, at most `most`, and the costs of a pass in seconds.

    Passes whose seconds are `known` are not run again, and no larger ones are tried.
    """
    text = trial_text(facts)
    if backend.second_forward is not None:
        backend.second_forward([text])  # engines compile on their first call
    longest = most
    if known:
        compute_pass(backend, [text])  # the same
        longest = min(most, max(shape.tokens for shape in known))
    trials = trials_of(backend, facts, known)
    short = learn_budget(trials, longest)
    costs = learn_costs(trials, backend.padding_cost)
    wide = widest_budget(
        costs,
        short,
        most,
        concurrent_passes=backend.concurrent_passes,
        has_fast_lane=backend.second_forward is not None,
    )
    return short, wide, costs


def trials_of(backend: Backend, facts: ModelFacts, known: Mapping[BatchShape, float] | None = None) -> Trials:
    """Trial passes of an engine, except those whose duration is known."""
    return Trials(partial(compute_pass, backend), partial(trial_text, facts), known=known)


def _measured_passes(
    stored: StoredModel, device: Device, chosen: tuple[Path, BackendConfig] | None
) -> dict[BatchShape, float]:
    """Seconds of the trial passes that the import measured for the chosen engine."""
    if chosen is None:
        return {}
    speeds = _read_speeds(stored, device)
    return dict(speeds.passes.get(chosen[1].name, ())) if speeds else {}


def _full_pass(tokens: int) -> BatchShape:
    """A pass of texts of ordinary length, `tokens` in total."""
    return BatchShape.of([TRIAL_TOKENS] * max(1, tokens // TRIAL_TOKENS))


def _largest_pass(backend: Backend, most: int, room: int, least: int = SMALLEST_BUDGET) -> int:
    """Tokens of the largest pass, at most `most`, that fits in `room` bytes, or `least`."""
    while most > least and backend.pass_bytes(_full_pass(most)) > room:
        most //= 2
    return most


def trial_text(facts: ModelFacts, tokens: int = TRIAL_TOKENS) -> TokenSequence:
    """An input for measurements, of `tokens` tokens if the model takes that many. Its token ids are arbitrary."""
    ids = [5 + index % max(1, facts.vocabulary - 5) for index in range(min(tokens, facts.max_tokens))]
    wanted = WANTED[facts.outputs[0]] if facts.outputs else Wanted.DENSE
    return TokenSequence(ids, [0] * len(ids) if facts.token_type_ids else None, wanted=wanted)


def load_backend(
    spec: ModelSpec,
    stored: StoredModel,
    device: Device,
    settings: Settings,
    chosen: tuple[Path, BackendConfig] | None = None,
) -> Backend:
    """The engine for the device; `chosen` if the caller knows what `_chosen` returns.

    On a CPU, the fastest one of those that passed the accuracy gate: OpenVINO unless torch was measured to be faster.
    """
    chosen = chosen or _chosen(stored, device, settings)
    if stored.facts.engine == "sentence-transformers":
        from runners.backends.sentence_transformers import SentenceTransformersBackend

        return SentenceTransformersBackend(stored.folder, spec, stored.facts, device)
    if chosen is not None and chosen[1].library == "openvino":
        return load_openvino(*chosen, spec, stored, device)
    if chosen is None and wants_openvino(device, settings):
        from runners.backends.openvino import find_export, weights_for

        weights = weights_for(device.requested_dtype)
        if settings.backend == "openvino" or weights == "int8":
            found = find_export(stored.folder, weights)
            reason = found[1]["f32"] if found else "it was not exported; run ./embeddings import again"
            setting = "DTYPE=int8" if weights == "int8" else "BACKEND=openvino"
            raise ModelUnavailableError(f"{setting} cannot serve {spec.name}: {reason}.")
    return load_torch(spec, stored, for_model(device, stored.facts.architecture))


def _chosen(stored: StoredModel, device: Device, settings: Settings) -> tuple[Path, BackendConfig] | None:
    """The export on a CPU and the fastest way to compute it; None if there is none, or another engine serves."""
    if stored.facts.engine == "sentence-transformers" or not wants_openvino(device, settings):
        return None
    from runners.backends.speed import choose

    return choose(stored.folder, device, torch=settings.backend == "auto")


def computing_dtype(stored: StoredModel, device: Device, settings: Settings) -> str:
    """Data type (float32, bfloat16, float16, int8) in which a stored model would be computed if it were loaded now."""
    if stored.facts.engine == "sentence-transformers":
        return "float32"
    chosen = _chosen(stored, device, settings)
    if chosen is not None and chosen[1].library == "openvino":
        from runners.backends.openvino import computed_in, weights_for

        return computed_in(chosen[1].precision, weights_for(device.requested_dtype))
    return for_model(device, stored.facts.architecture).dtype


def measured_speeds(stored: StoredModel, device: Device, settings: Settings) -> dict[str, float]:
    """Tokens per second of each engine that may compute a stored model on this processor; empty if not measured."""
    speeds = _read_speeds(stored, device) if wants_openvino(device, settings) else None
    return speeds.tokens_per_s if speeds else {}


def _read_speeds(stored: StoredModel, device: Device) -> MeasuredSpeeds | None:
    from runners.backends.openvino import weights_for
    from runners.backends.speed import read_speeds

    return read_speeds(stored.folder, weights_for(device.requested_dtype), device.threads)


def load_openvino(
    export: Path, config: BackendConfig, spec: ModelSpec, stored: StoredModel, device: Device
) -> OpenVINOBackend:
    """The OpenVINO engine of an export."""
    from runners.backends.footprint import LayerWidths
    from runners.backends.openvino import OpenVINOBackend, weights_for

    return OpenVINOBackend(
        export,
        stored.facts,
        precision=config.precision,
        streams=config.streams,
        weights=weights_for(device.requested_dtype),
        threads=device.threads,
        widths=LayerWidths.read(stored.folder),
        load_torch=lambda: load_torch(spec, stored, replace(device, dtype="float32")),
    )


def load_torch(spec: ModelSpec, stored: StoredModel, device: Device) -> Backend:
    """The torch engine, in the data type of the device."""
    from runners.backends.torch import TorchBackend

    return TorchBackend(stored.folder, spec, stored.facts, device)


def wants_openvino(device: Device, settings: Settings) -> bool:
    """Whether OpenVINO is preferred here. Only torch supports float16."""
    return device.platform == "cpu" and settings.backend != "torch" and device.requested_dtype != "float16"


def needs_export(stored: StoredModel, device: Device, settings: Settings) -> bool:
    """Whether a stored model still has to be exported for the preferred engine, or measured on this processor."""
    converting = 2 * memory_needed(stored.facts.parameters, "float32")  # torch's copy and OpenVINO's
    own = stored.facts.engine == "own" and wants_openvino(device, settings)
    if not own or converting > memory_budget(device, settings):
        return False
    from runners.backends.openvino import export_folder, read_report, weights_for
    from runners.backends.speed import needs_measuring

    if read_report(export_folder(stored.folder, weights_for(device.requested_dtype))) is None:
        return True
    return needs_measuring(stored.folder, stored.facts, device, torch=settings.backend == "auto")


def _runner(engine: Engine, spec: ModelSpec, stored: StoredModel) -> EmbeddingRunner | RerankRunner:
    facts = stored.facts
    if facts.dimensions is None:
        return RerankRunner(engine, spec.instruction or "")
    table = np.load(stored.folder / QUERY_TABLE) if facts.sparse is not None and facts.sparse.query_table else None
    return EmbeddingRunner(engine, facts.dimensions, OutputRules.of(facts, table))
