"""Measure the ways to compute a model on this processor, so that the fastest one serves it.

Runs in the child process of the export, because it loads the model once for each way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.catalog import ModelSpec
from models.store import StoredModel
from runners.backends.compiled_cache import processor
from runners.backends.openvino import find_export, weights_for
from runners.backends.speed import BackendConfig, MeasuredSpeeds, candidates, fastest, write_speeds
from runners.batching.costs import WIDEST_BUDGET, Trials, learn_budget, learn_costs
from runners.contracts import Backend, BatchShape, TokenSequences
from runners.devices import Device
from runners.loading import load_openvino, load_torch, trial_text, trials_of

logger = logging.getLogger("service.models")

PASS_LENGTHS = (12, 24, 35, 48, 57, 66, 80, 97, 118, 140, 175, 230)
"""Tokens of the texts of a pass: the lengths of ordinary passages."""
ROUNDS = 7
"""The candidates take turns, and each one's fastest round counts: other work on the machine does not decide."""
PASS_ROUNDS = 2
"""Rounds of the trials that every load uses from then on; a load without them runs one."""
_SLOWEST_PASS_S = 1.0
_OUT_OF_REACH = 1.5
"""Candidates whose passes take longer than _SLOWEST_PASS_S, or this many times the fastest one's, get two rounds."""


def measure_speeds(spec: ModelSpec, stored: StoredModel, device: Device, *, torch: bool) -> MeasuredSpeeds:
    """Measure and keep the speeds of a model's candidates. `torch`: whether it is one of them."""
    weights = weights_for(device.requested_dtype)
    found = find_export(stored.folder, weights)
    assert found is not None
    folder, report = found
    unknown = MeasuredSpeeds(processor=processor(), threads=device.threads)
    write_speeds(stored.folder, weights, unknown)  # if a measurement ends the process, it is not tried again
    allowed = candidates(report, device, torch=torch)
    backends = {config: _load(config, folder, spec, stored, device) for config in allowed}
    texts = [trial_text(stored.facts, length) for length in PASS_LENGTHS]
    tokens = sum(map(len, texts))
    seconds = best_times({config: _passes(config, backend, texts) for config, backend in backends.items()})
    speeds = {config.name: round(tokens * config.streams / took, 1) for config, took in seconds.items()}
    winner = fastest(allowed, speeds)
    passes = {winner.name: time_passes(trials_of(backends[winner], stored.facts), backends[winner].padding_cost)}
    result = unknown.model_copy(update={"tokens_per_s": speeds, "passes": passes})
    write_speeds(stored.folder, weights, result)
    for backend in backends.values():
        backend.close()
    listed = ", ".join(f"{name}: {speed:,.0f}" for name, speed in speeds.items())
    logger.info("%s is served by %s (tokens/s: %s)", spec.name, winner.name, listed)
    return result


def time_passes(trials: Trials, padding_cost: float) -> list[tuple[BatchShape, float]]:
    """The passes that a load would try, and the seconds of the shortest of several."""
    for _ in range(PASS_ROUNDS):
        learn_budget(trials, WIDEST_BUDGET)
        learn_costs(trials, padding_cost)
    return list(trials.seconds.items())


def _load(config: BackendConfig, folder: Path, spec: ModelSpec, stored: StoredModel, device: Device) -> Backend:
    if config.library == "torch":
        return load_torch(spec, stored, device)
    return load_openvino(folder, config, spec, stored, device)


def _passes(config: BackendConfig, backend: Backend, texts: TokenSequences) -> Callable[[], None]:
    """A function that runs one pass on each stream of a backend at the same time."""
    pool = ThreadPoolExecutor(config.streams)

    def run() -> None:
        for done in [pool.submit(backend.forward, texts) for _ in range(config.streams)]:
            done.result()

    return run


def best_times(
    runs: dict[BackendConfig, Callable[[], None]], clock: Callable[[], float] = time.perf_counter
) -> dict[BackendConfig, float]:
    """Seconds of each candidate's fastest round, after one that does not count."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    for number in range(ROUNDS):
        fastest_pass = min(best[config] / config.streams for config in runs)
        for config, run in runs.items():
            hopeless = best[config] / config.streams > _OUT_OF_REACH * fastest_pass
            if number > 1 and (hopeless or best[config] > _SLOWEST_PASS_S):
                continue
            started = clock()
            run()
            best[config] = min(best[config], clock() - started)
    return best
