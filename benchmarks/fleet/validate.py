"""Compares the simulation with three real replicas, whose passes sleep for a known time, at several loads."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.checkpoints import ROOT
from benchmarks.fleet.constants import Constants
from benchmarks.fleet.fleet import Outcome, simulate
from benchmarks.fleet.open_loop import OpenLoop
from benchmarks.fleet.passes import learn_known
from benchmarks.fleet.replica import Answer
from benchmarks.fleet.traffic import Kind, Request, bulk, poisson, search
from benchmarks.frontend import MODEL, Checkout, serve
from benchmarks.processes import Running
from runners.batching.costs import Costs
from runners.contracts import BatchShape

REPLICAS = 3
COSTS = Costs(call=0.04, token=0.0, slot=0.0006)
"""A query takes 50 ms and a full pass 350 ms, so that these replicas need little of the processor."""
MAX_BATCH_TOKENS = 512
TEXTS = 8
"""Passages of a bulk request."""
SEARCH_PER_S, BULK_PER_S = 90.0, 2.4
"""Of all replicas at load 1, at which three replicas are just not overloaded."""
LOADS = (0.4, 0.7, 1.0, 1.3)
CALIBRATION = 20
"""Requests, one after the other, that measure what a request takes beside its pass."""
SEED = 17
LIMIT = 0.15
SMALL_MS = 30.0
"""Times that differ by less than this, which is less than the shortest pass, count as equal."""


@dataclass(frozen=True)
class Comparison:
    """One figure at one load: real and simulated."""

    load: float
    figure: str
    real: float
    simulated: float

    @property
    def error(self) -> float:
        """Relative error of the simulated figure."""
        if self.real == self.simulated:
            return 0.0
        return self.simulated / self.real - 1 if self.real else math.inf

    @property
    def within(self) -> bool:
        """Whether the simulation is right."""
        return abs(self.error) <= LIMIT or (self.figure.endswith("ms") and abs(self.simulated - self.real) < SMALL_MS)


def kinds(load: float) -> list[Kind]:
    """The traffic at a load."""
    return [search(load * SEARCH_PER_S), bulk(load * BULK_PER_S, TEXTS)]


def constants(request_s: float) -> Constants:
    """The replicas with sleeping passes."""
    passes = learn_known(COSTS, 1.0, MAX_BATCH_TOKENS, fast_lane=True)
    return Constants(passes=passes, request_s=request_s, text_s=0.0, shared_cores=False, load_s=0.0)


def start_replicas(stack: ExitStack, cache: Path) -> list[int]:
    """Start the services; `stack` stops them. Returns their ports."""
    servers: list[Running] = []
    for number in range(REPLICAS):
        server = serve(
            Checkout(ROOT, Path(sys.executable)),
            cache / "fleet" / "home",
            pass_s=COSTS.call,
            PROMETHEUS_MULTIPROC_DIR=str(cache / "fleet" / f"metrics-{number}"),
            STUB_SLOT_S=str(COSTS.slot),
            STUB_FAST_LANE="true",
            MAX_BATCH_TOKENS=str(MAX_BATCH_TOKENS),
        )
        stack.callback(server.stop)
        servers.append(server)
    return [server.ports[MODEL] for server in servers]


async def calibrate(client: OpenLoop) -> float:
    """Seconds of a search query beside its pass, of a service that does nothing else."""
    found = []
    for request in poisson([search(CALIBRATION)], 1.0, SEED):
        alone = Request(request.kind, 0.0, request.lengths)
        (answer,) = await client.send([alone])
        found.append(answer.latency_s - COSTS.of(BatchShape.of(alone.lengths)))
    return max(0.0, median(found))


async def measure(ports: Sequence[int], seconds: float) -> tuple[float, dict[float, tuple[list[Answer], float]]]:
    """The calibration; and by load the answers of the real replicas, and the longest delay of the client."""
    client = OpenLoop(ports)
    try:
        request_s = await calibrate(client)
        found = {}
        for load in LOADS:
            client.late_s = 0.0
            found[load] = (await client.send(poisson(kinds(load), seconds, SEED)), client.late_s)
        return request_s, found
    finally:
        client.close()


def compare(load: float, real: Outcome, simulated: Outcome) -> list[Comparison]:
    """Throughput, latency and time in the queue, in milliseconds."""
    figures: dict[str, Callable[[Outcome], float]] = {"requests/s": lambda found: len(found.answers) / found.seconds}
    for kind, share in (("search", 0.5), ("search", 0.99), ("bulk", 0.5), ("bulk", 0.9)):
        name = f"{kind} p{100 * share:.0f}"
        figures[f"{name}, ms"] = partial(_ms, kind, share, False)
        figures[f"{name} in the queue, ms"] = partial(_ms, kind, share, True)
    return [Comparison(load, name, figure(real), figure(simulated)) for name, figure in figures.items()]


def _ms(kind: str, share: float, queue: bool, found: Outcome) -> float:
    return 1000 * found.percentile_s(share, kind, queue=queue)


def validate(cache: Path, seconds: float) -> list[Comparison]:
    """Start the replicas, send all loads for so many seconds each, and simulate the same requests."""
    with ExitStack() as stack:
        ports = start_replicas(stack, cache)
        request_s, measured = asyncio.run(measure(ports, seconds))
    print(f"A request takes {1000 * request_s:.1f} ms beside its passes.")
    found: list[Comparison] = []
    for load, (answers, late_s) in measured.items():
        print(f"Load {load}: {len(answers)} requests, sent up to {1000 * late_s:.0f} ms late.")
        requests = poisson(kinds(load), seconds, SEED)
        real = Outcome(answers, max(answer.answered_s for answer in answers), [])
        found += compare(load, real, simulate(constants(request_s), requests, replicas=REPLICAS))
    return found
