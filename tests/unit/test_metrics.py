"""Gauges say what is, also after a worker, a queue or a model is gone: an autoscaler reads them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

import metrics
from errors import InternalError, ShuttingDownError
from runners.batching.costs import Costs
from runners.engine import Engine
from tests.unit.fakes import Clock, make_engine, until
from tests.unit.runners.faulty_backend import FaultyBackend, Slow, text

WORKER = """
import metrics
metrics.QUEUE_TOKENS.labels("m").set(7)
metrics.QUEUE_AGE_SECONDS.labels("m").set(3)
metrics.MODEL_BYTES.labels("m").set(100)
metrics.COMPUTED_TEXTS.labels("m").inc(5)
print("ready", flush=True)
input()
"""


def tokens_waiting(name: str) -> float:
    """What this process says of a model's queue."""
    return float(metrics.QUEUE_TOKENS.labels(name)._value.get())


def age_s(name: str) -> float:
    return float(metrics.QUEUE_AGE_SECONDS.labels(name)._value.get())


def requests() -> tuple[float, float]:
    """Waiting and running requests of all models."""
    return metrics.REQUESTS_WAITING._value.get(), metrics.REQUESTS_RUNNING._value.get()


def summed(folder: Path) -> dict[str, float]:
    """What /metrics answers."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return {sample.name: sample.value for metric in registry.collect() for sample in metric.samples}


def worker(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", WORKER]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_gauges_of_a_killed_worker_are_dropped_and_counters_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    gone, alive = worker(tmp_path), worker(tmp_path)
    gone.kill()
    gone.communicate()
    assert summed(tmp_path)["service_queue_tokens"] == 14
    metrics.forget_dead_workers()
    found = summed(tmp_path)
    assert (found["service_queue_tokens"], found["service_model_bytes"]) == (7, 100)
    assert found["service_computed_texts_total"] == 10
    alive.communicate("\n")
    metrics.forget_dead_workers()
    found = summed(tmp_path)
    assert "service_queue_tokens" not in found
    assert "service_queue_age_seconds" not in found


def test_without_a_folder_there_is_nothing_to_forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "nothing"))
    metrics.forget_dead_workers()
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    metrics.forget_dead_workers()


@pytest.mark.parametrize(
    "leave", [lambda engine: engine.abort(InternalError("given up")), lambda engine: engine.close()]
)
async def test_a_queue_that_is_left_is_empty(leave: Callable[[Engine], None]) -> None:
    backend = FaultyBackend()
    others = requests()
    engine = make_engine(backend, name="left", max_batch_tokens=8)
    backend.hang()
    first = asyncio.create_task(engine.run([text(1)]))
    await backend.hanging()
    waiting = [asyncio.create_task(engine.run([text(2)] * 9)) for _ in range(3)]
    await until(lambda: engine.local.queued_tokens == 27 * 4)
    engine.local.report_queue()
    assert tokens_waiting("left") == 27 * 4
    assert requests() == (others[0] + 3, others[1] + 1)
    leaving = asyncio.create_task(asyncio.to_thread(leave, engine))
    for task in waiting:
        with pytest.raises((InternalError, ShuttingDownError)):
            await task
    assert (tokens_waiting("left"), age_s("left"), engine.local.queued_tokens) == (0, 0, 0)
    assert requests() == others
    backend.release()
    await leaving
    await asyncio.gather(first, return_exceptions=True)
    assert (tokens_waiting("left"), engine.local.queued_tokens) == (0, 0)
    assert requests() == others
    await asyncio.to_thread(engine.close)


async def test_an_idle_model_runs_no_request() -> None:
    others = requests()
    engine = make_engine(FaultyBackend(), name="idle")
    await engine.run([text(1)])
    await until(lambda: requests() == others)
    await asyncio.to_thread(engine.close)


async def test_predicted_time_is_that_of_the_costs_measured_at_load() -> None:
    """Beside the measured time, so that a model of costs that is wrong is noticed."""
    clock = Clock()
    engine = make_engine(Slow(clock, seconds=9), name="predicted", costs=Costs(2.0, 0.5), clock=clock)
    for count in (1, 3):
        await engine.run([text(1)] * count)
    await asyncio.to_thread(engine.close)
    assert metrics.PREDICTED_COMPUTE_SECONDS.labels("predicted")._value.get() == 2 * 2.0 + 16 * 0.5
    assert metrics.COMPUTE_SECONDS.labels("predicted")._value.get() == 2 * 9
