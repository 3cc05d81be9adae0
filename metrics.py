"""Every metric of our own, declared once; BentoML serves them with its own at /metrics, summed over the workers."""

from __future__ import annotations

import os

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

import metrics_files
from metrics_batched import BatchedCounter, BatchedGauge, BatchedHistogram

metrics_files.install()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

REQUESTS = BatchedCounter("service_requests", "Answers by route, model and status.", ["route", "model", "status"])
REQUEST_SECONDS = BatchedHistogram(
    "service_request_seconds", "From the request's head to the answer's.", ["route"], buckets=_SECONDS
)
REQUESTS_IN_PROGRESS = BatchedGauge(
    "service_requests_in_progress", "Requests that are received or worked on.", ["route"], multiprocess_mode="livesum"
)
STAGE_SECONDS = BatchedHistogram(
    "service_stage_seconds",
    "What a request spends in a stage: tokenize, queue (waiting for its turns) and compute.",
    ["stage", "model"],
    buckets=_SECONDS,
)
ERRORS = BatchedCounter("service_errors", "Refusals and failures by their code.", ["code"])
TRUNCATIONS = BatchedCounter("service_truncations", "Inputs that were cut.", ["model"])

QUEUE_TOKENS = Gauge("service_queue_tokens", "Tokens that wait for a model.", ["model"], multiprocess_mode="livesum")
QUEUE_AGE_SECONDS = Gauge(
    "service_queue_age_seconds",
    "How long the request that has waited longest for a turn has been waiting.",
    ["model"],
    multiprocess_mode="livemax",
)
BATCH_TEXTS = Histogram("service_batch_texts", "Inputs in a forward pass.", ["model"], buckets=_TEXTS)
BATCH_TOKENS = Histogram(
    "service_batch_tokens", "Tokens in a forward pass, padding included.", ["model"], buckets=_TOKENS
)
COMPUTED_TEXTS = Counter("service_computed_texts", "Inputs computed.", ["model"])
COMPUTED_TOKENS = Counter("service_computed_tokens", "Tokens computed, padding left out.", ["model"])
PADDING_TOKENS = Counter("service_padding_tokens", "Padding computed.", ["model"])
COMPUTE_SECONDS = Counter("service_compute_seconds", "Time spent in forward passes.", ["model"])

MODEL_LOADS = Counter("service_model_loads", "Loads by outcome: loaded or failed.", ["model", "outcome"])
MODEL_UNLOADS = Counter(
    "service_model_unloads", "Unloads by reason: idle, room, hung, lost or asked.", ["model", "reason"]
)
MODEL_BYTES = Gauge("service_model_bytes", "Memory that a loaded model takes.", ["model"], multiprocess_mode="livesum")


def forget_dead_workers() -> None:
    """Drop the gauges of worker processes that ended, which would be added up for ever: autoscalers read them."""
    folder = metrics_files.folder()
    if folder is None:
        return
    processes = {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*_*.db")}
    for process in processes:
        if process.isdecimal() and not _runs(int(process)):
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]  # prometheus_client


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process of that number
        pass
    return True
