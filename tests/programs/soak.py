"""Load with many connections on a running service: errors, memory and pauses.

    bentoml serve &                                       # anywhere
    python -m tests.programs.soak --url http://127.0.0.1:7987 --pid <pid of the worker> --seconds 60

CONNECTIONS keep-alive connections send short embedding requests, while another process polls /livez and records the
longest wait. Prints a JSON report. The exit status is 0 if all responses were 200 and the worker's memory at the end is
within 5 % of that after the first ten seconds (only with --pid). Pauses do not affect it, because the scheduler of a
shared machine causes them, too.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.serving import ROOT

CONNECTIONS = 64
WARM_UP_S = 10
MEMORY_TOLERANCE = 0.05
MODEL = "all-minilm-l6-v2"


@dataclass
class Load:
    """Results of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    latencies_ms: list[float] = field(default_factory=list)


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send one request on an open connection, read the whole response and return its status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def post(host: str, number: int) -> bytes:
    """A request with a unique text."""
    text = f"request {number}: " + "the quick brown fox jumps over the lazy dog " * (number % 4)
    body = json.dumps({"model": MODEL, "input": text}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def connection(url: str, until: float, numbers: "count[int]", load: Load) -> None:
    """Send requests one after the other until the time is over."""
    address = urlsplit(url)
    assert address.hostname is not None
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        while (started := time.perf_counter()) < until:
            status = await exchange(reader, writer, post(address.netloc, next(numbers)))
            load.statuses[status] += 1
            load.latencies_ms.append((time.perf_counter() - started) * 1000)
    except (OSError, asyncio.IncompleteReadError):
        load.broken += 1
    finally:
        writer.close()


async def probe(url: str, seconds: float) -> dict[str, float]:
    """Poll /livez without pause: the number of requests and their times in ms."""
    address = urlsplit(url)
    assert address.hostname is not None
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET /livez HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    waits: list[float] = []
    until = time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        status = await exchange(reader, writer, request)
        assert status == 200
        waits.append((time.perf_counter() - started) * 1000)
    writer.close()
    waits.sort()
    return {
        "livez_polls": len(waits),
        "livez_p50_ms": round(waits[len(waits) // 2], 2),
        "livez_p99_ms": round(waits[len(waits) * 99 // 100], 2),
        "livez_p999_ms": round(waits[len(waits) * 999 // 1000], 2),
        "livez_max_ms": round(waits[-1], 2),
    }


async def soak(url: str, seconds: float, pid: int | None) -> dict[str, Any]:
    """Run the load, with the probe in another process, and return a report."""
    worker = psutil.Process(pid) if pid else None
    command = [sys.executable, "-m", "tests.programs.soak", "--url", url, "--seconds", str(seconds), "--probe"]
    prober = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    load, numbers = Load(), count()
    started = time.perf_counter()
    running = [asyncio.create_task(connection(url, started + seconds, numbers, load)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(min(WARM_UP_S, seconds / 2))
    before = worker.memory_info().rss if worker else 0
    await asyncio.gather(*running)
    elapsed = time.perf_counter() - started
    after = worker.memory_info().rss if worker else 0
    output, _ = await prober.communicate()
    pauses: dict[str, Any] = json.loads(output)
    latencies = sorted(load.latencies_ms) or [0.0]
    return {
        "seconds": round(elapsed, 1),
        "requests": sum(load.statuses.values()),
        "requests_per_s": round(sum(load.statuses.values()) / elapsed, 1),
        "statuses": {str(status): number for status, number in load.statuses.items()},
        "broken_connections": load.broken,
        "latency_p50_ms": round(latencies[len(latencies) // 2], 1),
        "latency_p99_ms": round(latencies[len(latencies) * 99 // 100], 1),
        "rss_warm_mb": round(before / 1e6, 1),
        "rss_end_mb": round(after / 1e6, 1),
        "rss_growth": round(after / before - 1, 4) if before else 0.0,
    } | pauses


def failures(report: dict[str, Any]) -> int:
    """Number of responses other than 200 and of failed connections."""
    refused = sum(number for status, number in report["statuses"].items() if status != "200")
    return int(refused + report["broken_connections"])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7987")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pid", type=int, help="process id of the worker, to watch its memory")
    parser.add_argument("--probe", action="store_true", help="only poll /livez and print what it took")
    options = parser.parse_args()
    if options.probe:
        sys.stdout.write(json.dumps(asyncio.run(probe(options.url, options.seconds))))
        return 0
    report = asyncio.run(soak(options.url, options.seconds, options.pid))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return int(failures(report) > 0 or report["rss_growth"] > MEMORY_TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
