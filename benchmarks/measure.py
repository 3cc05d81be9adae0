"""One measurement: a load on a running server, and the CPU time of other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks import rows
from benchmarks.checkpoints import ROOT
from benchmarks.client import Group, Load, Report, Request, report_from
from benchmarks.processes import Command, First, Running, free_port, start
from benchmarks.statistics import rate, summary
from benchmarks.workload import EMBEDDER, embeddings_body

Figures = dict[str, float]


class MeasurementError(RuntimeError):
    """A server returned a wrong response or none."""


def send(load: Load) -> Report:
    """Run the load generator in a child process. MeasurementError if a response was wrong."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=ROOT,
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise MeasurementError(child.stderr.strip()[-300:])
    report = report_from(json.loads(child.stdout))
    if report.errors:
        raise MeasurementError("; ".join(report.errors[:3]))
    return report


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - times.guest - times.guest_nice)


def watched(running: Running, load: Load) -> tuple[Report, Figures]:
    """A report, the server's CPU time for an item, and that of the generator and of other processes, in cores."""
    busy, server, own, begin = _busy_s(), running.cpu_s(), _my_cpu_s(), time.perf_counter()
    report = send(load)
    wall, server = time.perf_counter() - begin, running.cpu_s() - server
    foreign = _busy_s() - busy - server - (_my_cpu_s() - own)
    items = sum(call.items for calls in report.calls.values() for call in calls)
    return report, {
        "cpu_ms": 1000 * server / items,
        "generator_cores": round(report.cpu_s / report.wall_s, 3),
        "foreign_cores": round(max(0.0, foreign / wall), 3),
    }


def _my_cpu_s() -> float:
    """CPU time of this process and its finished children, which include the load generators."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure_group(running: Running, group: Group, window_s: float, warm_up_s: float) -> Figures:
    """p50, p99, items per second and CPU time per item of one group of connections."""
    report, machine = watched(running, Load([group], window_s, warm_up_s))
    return summary(report.calls[group.name], window_s) | machine


def measure_mixed(running: Running, window_s: float, warm_up_s: float) -> Figures:
    """Single texts alone, bulk alone, and both at once."""
    people, corpus = rows.singles(running.ports), rows.bulk(running.ports)
    idle, quiet = watched(running, Load([people], window_s, warm_up_s))
    alone, _ = watched(running, Load([corpus], window_s, warm_up_s))
    both, loaded = watched(running, Load([people, corpus], window_s, warm_up_s))
    before, after = summary(idle.calls["singles"], window_s), summary(both.calls["singles"], window_s)
    bulk_alone = summary(alone.calls["bulk"], window_s)["items_per_s"]
    bulk_beside = summary(both.calls["bulk"], window_s)["items_per_s"]
    return {
        "idle_p50_ms": before["p50_ms"],
        "idle_p99_ms": before["p99_ms"],
        "loaded_p50_ms": after["p50_ms"],
        "loaded_p99_ms": after["p99_ms"],
        "loaded_requests": after["requests"],
        "bulk_alone_per_s": bulk_alone,
        "bulk_per_s": bulk_beside,
        "bulk_share": 100 * bulk_beside / bulk_alone,
        "generator_cores": loaded["generator_cores"],
        "foreign_cores": max(quiet["foreign_cores"], loaded["foreign_cores"]),
    }


def generator_cost(log_path: Path, window_s: float) -> Figures:
    """Speed and CPU time of the load generator with a trivial server."""
    port = free_port()
    command = Command([sys.executable, "-m", "benchmarks.trivial", str(port)], os.environ, ROOT, port, (EMBEDDER,))
    body = embeddings_body(["a short text"])
    running = start([command], [First(port, rows.EMBEDDINGS, body)], log_path, timeout_s=30)
    try:
        found: Figures = {}
        for connections in (1, 16):
            request = Request(port, rows.EMBEDDINGS, body.decode(), 1)
            report = send(Load([Group("all", connections, [request])], window_s))
            calls = report.calls["all"]
            found[f"requests_per_s_{connections}"] = round(rate(calls, window_s))
            found[f"cpu_us_{connections}"] = round(1e6 * report.cpu_s / len(calls), 1)
        return found
    finally:
        running.stop()
