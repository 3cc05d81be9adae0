"""Limits and failures: 408, 413, 429, 500, 503, 504, and clients that disconnect."""

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

from runners.backends.torch import TorchBackend
from runners.contracts import Rows, TokenSequences
from tests.errors import message_of, refused
from tests.integration.conftest import App, Checkpoint, RunApp, embed, ok
from tests.serving import read_all, until
from tests.tolerance import openvino_precision, shared_pass_atol
from tests.unit.fakes import PATIENCE_S

MARKER = "zebra-and-quagga"


class Gate:
    """Counts the rows of forward passes, and blocks the passes while it is closed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        self.arrived = threading.Event()
        self.open = threading.Event()
        forward = TorchBackend.forward

        def gated(backend: TorchBackend, sequences: TokenSequences) -> Rows:
            self.arrived.set()
            if not self.open.wait(PATIENCE_S):  # after a failed test, the app must be able to close
                raise TimeoutError("the test never opened the gate")
            self.rows += len(sequences)
            return forward(backend, sequences)

        patch.setattr(TorchBackend, "forward", gated)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Open at first, so that models can load, and again at the end, so that threads can end."""
    gate = Gate(monkeypatch)
    gate.open.set()
    yield gate
    gate.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for concurrent clients."""
    with ThreadPoolExecutor(8) as executor:
        yield executor


def close(gate: Gate, app: App) -> None:
    """Load the default model, then close the gate."""
    embed(app.client, ["warm"])
    gate.arrived.clear()
    gate.rows = 0
    gate.open.clear()


def queued_tokens(app: App) -> int:
    """Queued tokens of the default model."""
    engine = app.loaded("bge-m3").engine
    assert engine is not None
    return engine.local.queued_tokens


def test_a_content_length_beyond_the_limit_is_rejected(run_app: RunApp) -> None:
    with run_app(MAX_BODY_BYTES="1000") as app:
        message = refused(app.client.post("/v1/embeddings", json={"input": "x" * 1000}), 413, "body_too_large")
        assert "1000" in message
        ok(app.client.post("/v1/embeddings", json={"input": "x" * 900}))


def test_a_chunked_body_beyond_the_limit_is_rejected(run_app: RunApp) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"input": "'
        for _ in range(20):
            yield b"x" * 100

    with run_app(MAX_BODY_BYTES="1000") as app:
        response = app.client.post("/v1/rerank", content=chunks())
        assert "transfer-encoding" in response.request.headers
        refused(response, 413, "body_too_large")


def test_an_incomplete_body_gets_408(run_app: RunApp) -> None:
    with run_app(REQUEST_TIMEOUT_S="0.3") as app, socket.create_connection(("127.0.0.1", app.server.port)) as slow:
        slow.sendall(b'POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"input"')
        slow.settimeout(20)
        answer = read_all(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_a_full_queue_gets_429(run_app: RunApp, gate: Gate, pool: ThreadPoolExecutor) -> None:
    with run_app(MAX_QUEUED_TOKENS="20") as app:
        close(gate, app)
        computed = pool.submit(embed, app.client, ["computed"])
        assert gate.arrived.wait(PATIENCE_S)
        queued = pool.submit(embed, app.client, ["queued"])
        until(lambda: queued_tokens(app), what="a queued request")
        response = app.client.post("/v1/embeddings", json={"input": "one too many " * 5})
        message = refused(response, 429, "rate_limit_exceeded")
        assert "MAX_QUEUED_TOKENS" in message
        assert int(response.headers["retry-after"]) >= 1
        gate.open.set()
        assert len(computed.result()["data"]) == len(queued.result()["data"]) == 1
        embed(
            app.client, ["after that there is room again " * 5]
        )  # the first request in an empty queue may exceed the limit


def test_the_deadline_gets_504(run_app: RunApp, gate: Gate) -> None:
    with run_app(REQUEST_TIMEOUT_S="1") as app:

        def answered() -> bool:
            return app.client.post("/v1/embeddings", json={"input": "quick"}).status_code == 200

        until(answered, what="an answer, once the model is loaded")  # which may take longer than the deadline
        gate.open.clear()
        message = refused(app.client.post("/v1/embeddings", json={"input": "slow"}), 504, "deadline_exceeded")
        assert "REQUEST_TIMEOUT_S" in message
        gate.open.set()
        until(answered, what="an answer")


def test_an_unexpected_exception_gets_500_without_details(
    run_app: RunApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with run_app() as app:
        embed(app.client, ["warm"])
        with monkeypatch.context() as patch:

            def fail(backend: TorchBackend, sequences: TokenSequences) -> Rows:
                raise RuntimeError(f"cannot compute {MARKER}")

            patch.setattr(TorchBackend, "forward", fail)
            with caplog.at_level(logging.INFO):
                response = app.client.post("/v1/embeddings", json={"input": MARKER})
        refused(response, 500, "internal_error")
        assert MARKER not in response.text
        assert "RuntimeError" not in response.text
        assert "RuntimeError" in caplog.text  # the traceback is logged
        assert MARKER not in caplog.text  # without the user's text
        embed(app.client, ["well again"])


def test_a_failing_text_does_not_affect_its_batch(run_app: RunApp, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """Several requests share a batch; only the one with the failing row gets an error."""
    with run_app() as app:
        close(gate, app)
        forward = TorchBackend.forward

        def picky(backend: TorchBackend, sequences: TokenSequences) -> Rows:
            if any(len(sequence) == 9 for sequence in sequences):
                raise RuntimeError
            return forward(backend, sequences)

        with pytest.MonkeyPatch.context() as patch:
            held = pool.submit(embed, app.client, ["holds the worker"])
            assert gate.arrived.wait(PATIENCE_S)
            patch.setattr(TorchBackend, "forward", picky)
            good = [pool.submit(embed, app.client, ["1 " * count]) for count in (4, 5, 6)]
            bad = pool.submit(app.client.post, "/v1/embeddings", json={"input": "1 " * 7})
            until(lambda: queued_tokens(app) == 6 + 7 + 8 + 9, what="four queued requests")
            gate.open.set()
            refused(bad.result(), 500, "internal_error")
            assert [entry.result()["usage"]["prompt_tokens"] for entry in good] == [6, 7, 8]
            held.result()


def test_requests_of_disconnected_clients_are_not_computed(run_app: RunApp, gate: Gate) -> None:
    with run_app(MAX_BATCH_TOKENS="64") as app:
        close(gate, app)
        with pytest.raises(httpx.ReadTimeout):
            app.client.post("/v1/embeddings", json={"input": [f"text {n}" for n in range(200)]}, timeout=1)
        until(lambda: not queued_tokens(app), what="an empty queue")
        gate.open.set()
        embed(app.client, ["next"])
        assert gate.rows < 100


def test_a_missing_model_gets_503_without_import_on_demand(run_app: RunApp) -> None:
    with run_app() as app:
        embed(app.client, ["warm"])
        response = app.client.post("/v1/embeddings", json={"input": "a", "model": "e5-large"})
        message = refused(response, 503, "model_unavailable")
        assert "./embeddings import e5-large" in message
        assert "Ready now: bge-m3." in message


def test_readyz_waits_for_preload_models(run_app: RunApp, checkpoint: Checkpoint) -> None:
    with run_app(PRELOAD_MODELS="bge-m3, bge-reranker-v2-m3") as app:
        until(lambda: app.client.get("/readyz").status_code == 200, what="readiness")
        assert ok(app.client.get("/health"))["models_loaded"] == ["bge-m3", "bge-reranker-v2-m3"]
    with run_app(PRELOAD_MODELS="e5-large") as app:
        unavailable = until(lambda: app.client.get("/models").json(), what="the list")["models"]
        assert next(model for model in unavailable if model["id"] == "e5-large")["state"] == "unavailable"
        response = app.client.get("/readyz")
        assert response.status_code == 503
        message_of(response.json())
        assert app.client.get("/livez").status_code == 200


def test_an_idle_model_is_unloaded_and_reloaded(run_app: RunApp, pool: ThreadPoolExecutor) -> None:
    def state() -> str:
        models = app.client.get("/models").json()["models"]
        return str(next(model["state"] for model in models if model["id"] == "bge-m3"))

    with run_app(IDLE_UNLOAD_S="1") as app:
        first = embed(app.client, ["one short text"])["data"][0]["embedding"]
        until(lambda: state() == "stored", what="the unloading")
        answers = list(pool.map(lambda _: embed(app.client, ["one short text"]), range(100)))
    vectors = np.asarray([answer["data"][0]["embedding"] for answer in answers])
    assert_allclose(vectors, np.broadcast_to(first, vectors.shape), atol=shared_pass_atol(openvino_precision()))
