"""The service's own metrics. BentoML serves them with its own at /metrics, summed over the workers."""

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

REQUESTS = BatchedCounter("service_requests", "Responses by route, model and status.", ["route", "model", "status"])
REQUEST_SECONDS = BatchedHistogram(
    "service_request_seconds", "Time from the request's head to the response's head.", ["route"], buckets=_SECONDS
)
REQUESTS_IN_PROGRESS = BatchedGauge(
    "service_requests_in_progress", "Requests being received or processed.", ["route"], multiprocess_mode="livesum"
)
STAGE_SECONDS = BatchedHistogram(
    "service_stage_seconds",
    "Time of a request in each stage: tokenize, queue (waiting for its passes) and compute.",
    ["stage", "model"],
    buckets=_SECONDS,
)
KEY_REQUESTS = BatchedCounter("service_key_requests", "Responses by name of the API key and status.", ["key", "status"])
KEY_TOKENS = BatchedCounter("service_key_tokens", "Tokens of requests by name of the API key.", ["key"])
ERRORS = BatchedCounter("service_errors", "Errors by code.", ["code"])
TRUNCATIONS = BatchedCounter("service_truncations", "Truncated inputs.", ["model"])

QUEUE_TOKENS = Gauge("service_queue_tokens", "Tokens waiting for a model.", ["model"], multiprocess_mode="livesum")
QUEUE_AGE_SECONDS = Gauge(
    "service_queue_age_seconds",
    "Waiting time of the request that has waited longest for a pass.",
    ["model"],
    multiprocess_mode="livemax",
)
# Without labels, because load balancers that read them take one series (docs/deployment.md)
REQUESTS_WAITING = Gauge(
    "service_requests_waiting", "Requests with inputs that wait for a pass.", multiprocess_mode="livesum"
)
REQUESTS_RUNNING = Gauge("service_requests_running", "Requests with inputs in a pass.", multiprocess_mode="livesum")
BATCH_TEXTS = Histogram("service_batch_texts", "Inputs in a forward pass.", ["model"], buckets=_TEXTS)
BATCH_TOKENS = Histogram(
    "service_batch_tokens", "Tokens in a forward pass, padding included.", ["model"], buckets=_TOKENS
)
COMPUTED_TEXTS = Counter("service_computed_texts", "Inputs computed.", ["model"])
COMPUTED_TOKENS = Counter("service_computed_tokens", "Tokens computed, without padding.", ["model"])
PADDING_TOKENS = Counter("service_padding_tokens", "Padding tokens computed.", ["model"])
COMPUTE_SECONDS = Counter("service_compute_seconds", "Time spent in forward passes.", ["model"])
PREDICTED_COMPUTE_SECONDS = Counter(
    "service_predicted_compute_seconds",
    "Time that these passes were expected to take by what was measured when the model was loaded.",
    ["model"],
)

MODEL_LOADS = Counter("service_model_loads", "Loads by outcome: loaded or failed.", ["model", "outcome"])
MODEL_UNLOADS = Counter(
    "service_model_unloads",
    "Unloads by reason: idle, room (for another model), hung, lost (device) or asked (by an administrator).",
    ["model", "reason"],
)
MODEL_BYTES = Gauge("service_model_bytes", "Memory that a loaded model takes.", ["model"], multiprocess_mode="livesum")

BATCHES = Counter(
    "service_batches",
    "Batches of the batch API that reached a status: validating, in_progress, finalizing, completed, failed, expired "
    "or cancelled.",
    ["status"],
)
BATCH_LINES = Counter("service_batch_lines", "Answered lines of batches by outcome: completed or failed.", ["outcome"])


def forget_dead_workers() -> None:
    """Delete the gauges of ended worker processes, which would otherwise count in the sums that autoscalers read."""
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
    except PermissionError:  # a process of another user
        pass
    return True
