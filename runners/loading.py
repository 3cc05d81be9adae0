"""Build a loaded model out of a stored one: tokenizer, backend, engine, runner."""

from __future__ import annotations

from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.store import StoredModel
from runners.backends import Backend
from runners.devices import Device
from runners.embedding import EmbeddingRunner
from runners.engine import Engine
from runners.model_pool import LoadedModel
from runners.rerank import RerankRunner
from runners.tokenization import load_tokenizer
from settings import Settings


def load_model(spec: ModelSpec, stored: StoredModel, device: Device, settings: Settings) -> LoadedModel:
    """Load a model and run it once, so that the first request does not pay for it. Blocks for seconds."""
    backend = load_backend(spec, stored, device)
    engine = Engine(
        load_tokenizer(stored.folder, spec, stored.facts),
        backend,
        pad_id=stored.facts.pad_id,
        max_batch_tokens=settings.max_batch_tokens,
        max_queued_tokens=settings.max_queued_tokens,
    )
    engine.warm_up()
    return LoadedModel(spec, stored, engine, _runner(engine, stored.facts))


def load_backend(spec: ModelSpec, stored: StoredModel, device: Device) -> Backend:
    """The engine that suits the device."""
    from runners.backends.torch import TorchBackend

    return TorchBackend(stored.folder, spec, stored.facts, device)


def _runner(engine: Engine, facts: ModelFacts) -> EmbeddingRunner | RerankRunner:
    return RerankRunner(engine) if facts.dimensions is None else EmbeddingRunner(engine, facts.dimensions)
