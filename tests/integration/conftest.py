"""The app in this process, with tiny models that were imported and verified."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import httpx
import prometheus_client
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer

from api.work import Work
from importing.registration import register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec, load_catalog
from models.facts import Verification
from models.store import ModelStore, StoredModel
from runners.backends.openvino import Report
from runners.loaded_model import LoadedModel
from runners.pool.model_pool import ModelPool
from settings import load_settings
from tests import tiny
from tests.integration import reference
from tests.integration.architectures.workshop import Model, Workshop
from tests.integration.exports import Exported, convert
from tests.integration.reference import ReferenceEmbedder, ReferenceReranker
from tests.serving import ROOT, InProcess, http_client
from tests.variant import DTYPE, THREADS

DEFAULT_EMBEDDER = "BAAI/bge-m3"
DEFAULT_RERANKER = "BAAI/bge-reranker-v2-m3"
E5 = "intfloat/multilingual-e5-base"
"""A model with a limit of 512 tokens and prompts for queries and documents."""

Checkpoint = Callable[[str], Path]
"""Full name -> the original folder of a tiny model, which is also imported."""


class RunApp(Protocol):
    """Runs the app with other settings: `run_app(MAX_BODY_BYTES="100")`."""

    def __call__(self, **settings: str) -> AbstractContextManager["App"]: ...


@dataclass(frozen=True)
class App:
    """The running app, a client for it, and its service module."""

    client: httpx.Client
    server: InProcess
    module: ModuleType
    work: Work

    def loaded(self, name: str) -> LoadedModel:
        """A loaded model; StopIteration if it is not loaded."""
        assert isinstance(self.work.pool, ModelPool)
        return next(model for model in self.work.pool.loaded() if model.name == name)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Checkpoints and stores; read-only."""
    return Workshop(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(workshop: Workshop) -> Exported:
    """Converts tiny models for OpenVINO, once."""

    def get(name: str) -> tuple[Model, Report]:
        model = workshop.model(name)
        return model, convert(model)

    return get


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RERANKER_MODELS_DIR: `<org>_<name>/` folders."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def checkpoint(checkpoints: Path) -> Checkpoint:
    """Build and import a tiny model, once."""
    catalog, store, done = load_catalog(), ModelStore(), dict[str, Path]()
    settings = load_settings({"RERANKER_MODELS_DIR": str(checkpoints), "DEVICE": "cpu", "DTYPE": "float32"})

    def check(spec: ModelSpec, stored: StoredModel) -> Verification:
        return verify(spec, stored, settings)  # without goldens, which need the real weights

    def build_and_import(full_name: str) -> Path:
        if full_name not in done:
            folder = tiny.build(full_name, checkpoints / full_name.replace("/", "_"))
            spec = catalog.get(full_name)
            register_checkpoint(spec, store=store, settings=settings, check=check, progress=lambda _done, _total: None)
            done[full_name] = folder
        return done[full_name]

    return build_and_import


@contextlib.contextmanager
def running(folder: Path, **settings: str) -> Iterator[App]:
    """The app of a newly imported service.py, on a socket, with its own metrics registry."""
    defaults = {
        "EMBEDDING_MODEL_NAME": DEFAULT_EMBEDDER,
        "RERANKER_MODEL_NAME": DEFAULT_RERANKER,
        "RERANKER_MODELS_DIR": str(folder),
        "IMPORT_ON_DEMAND": "false",
        "DEVICE": "cpu",
        "DTYPE": DTYPE,
        "CPU_THREADS": str(THREADS),
        "MAX_BATCH_TOKENS": "256",  # passes of one size: the same request twice has the same bits, whatever ran lately
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (defaults | settings).items():
            patch.setenv(name, value)
        patch.setattr(BentoMLContainer.metrics_client.get(), "_registry", prometheus_client.CollectorRegistry())
        patch.setattr(BentoMLContainer.metrics_client.get(), "_pid", os.getpid())
        patch.setattr("engine_process.settle_memory", lambda: None)  # this process outlives the app
        module = _fresh_service(patch)
        made: list[Work] = []

        def work(*parts: Any) -> Work:
            made.append(Work(*parts))
            return made[-1]

        patch.setattr(module, "Work", work)
        server = InProcess(module.RerankEmbedding.to_asgi())
        with server, http_client(base_url=server.url, timeout=300) as client:
            yield App(client, server, module, made[0])


def _fresh_service(patch: pytest.MonkeyPatch) -> ModuleType:
    """Import service.py again, which then reads its settings."""
    spec = importlib.util.spec_from_file_location("service", ROOT / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "service", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def app(checkpoint: Checkpoint, checkpoints: Path) -> Iterator[App]:
    """The app with default settings and both default models imported; shared by a file of tests."""
    checkpoint(DEFAULT_EMBEDDER)
    checkpoint(DEFAULT_RERANKER)
    with running(checkpoints) as running_app:
        yield running_app


@pytest.fixture
def api(app: App) -> httpx.Client:
    """A client of `app`."""
    return app.client


@pytest.fixture
def run_app(checkpoint: Checkpoint, checkpoints: Path) -> RunApp:
    """Runs apps with other settings. Not together with `app`: BentoML supports one service per process."""
    checkpoint(DEFAULT_EMBEDDER)
    checkpoint(DEFAULT_RERANKER)

    def run(**settings: str) -> AbstractContextManager[App]:
        return running(checkpoints, **settings)

    return run


@pytest.fixture
def default(checkpoint: Checkpoint) -> ReferenceEmbedder:
    """The default embedding model."""
    return reference.embedder(DEFAULT_EMBEDDER, checkpoint(DEFAULT_EMBEDDER), 8192)


@pytest.fixture
def e5(checkpoint: Checkpoint) -> ReferenceEmbedder:
    """A model with prompts and a short limit."""
    return reference.embedder(E5, checkpoint(E5), 512)


@pytest.fixture
def reranker(checkpoint: Checkpoint) -> ReferenceReranker:
    """The default reranker."""
    return reference.reranker(DEFAULT_RERANKER, checkpoint(DEFAULT_RERANKER), 8192)


def embed(client: httpx.Client, texts: list[str], **fields: Any) -> dict[str, Any]:
    """The body of a 200 response of /v1/embeddings."""
    return without_id(client.post("/v1/embeddings", json={"input": texts, **fields}))


def without_id(response: httpx.Response) -> dict[str, Any]:
    """The body of a 200 response without the request's identifier."""
    body = ok(response)
    assert body.pop("id") == response.headers["x-request-id"]
    return body


def rerank(client: httpx.Client, query: str, documents: list[str], **fields: Any) -> dict[str, Any]:
    """The body of a 200 response of /v1/rerank."""
    return ok(client.post("/v1/rerank", json={"query": query, "documents": documents, **fields}))


def ok(response: httpx.Response) -> dict[str, Any]:
    """The body of a 200 response."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body
