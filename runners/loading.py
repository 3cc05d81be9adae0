"""Build a loaded model out of a stored one: tokenizer, backend, engine, runner."""

from __future__ import annotations

from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.store import StoredModel
from runners.backends import Backend
from runners.backends.cohere import CohereReranker
from runners.devices import Device
from runners.embedding import EmbeddingRunner
from runners.engine import Engine
from runners.model_pool import LoadedModel
from runners.rerank import RerankRunner
from runners.tokenization import load_tokenizer
from settings import Settings


def load_model(spec: ModelSpec, stored: StoredModel | None, device: Device, settings: Settings) -> LoadedModel:
    """Load a model and run it once, so that the first request does not pay for it. Blocks for seconds.

    A model without a place in the store is a forwarded one.
    """
    if stored is None:
        forwarded = CohereReranker(spec, settings)
        return LoadedModel(spec, forwarded, "forwarded to Cohere", disconnect=forwarded.close)
    backend = load_backend(spec, stored, device)
    engine = Engine(
        load_tokenizer(stored.folder, spec, stored.facts),
        backend,
        pad_id=stored.facts.pad_id,
        max_batch_tokens=settings.max_batch_tokens,
        max_queued_tokens=settings.max_queued_tokens,
    )
    engine.warm_up()
    return LoadedModel(spec, _runner(engine, spec, stored.facts), backend.name, stored, engine)


def load_backend(spec: ModelSpec, stored: StoredModel, device: Device) -> Backend:
    """The engine that suits the device."""
    from runners.backends.torch import TorchBackend

    return TorchBackend(stored.folder, spec, stored.facts, device)


def _runner(engine: Engine, spec: ModelSpec, facts: ModelFacts) -> EmbeddingRunner | RerankRunner:
    if facts.dimensions is None:
        return RerankRunner(engine, spec.instruction or "")
    return EmbeddingRunner(engine, facts.dimensions)
