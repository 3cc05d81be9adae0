"""A client that sends a short text every second, and measures the time of each response."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.serving import ROOT

EVERY_S = 1.0
TIMEOUT_S = 300


@contextmanager
def short_texts(url: str, taken: list[tuple[float, int]]) -> Iterator[None]:
    """Send short texts from another process during the block; then `taken` has the seconds and status of each."""
    command = [sys.executable, "-m", "tests.programs.short_texts", "--url", url]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # wait for the first response
    try:
        yield
    finally:
        output, _ = process.communicate()  # closes stdin, which ends the process
        taken += [(seconds, status) for seconds, status in json.loads(output)]


def main() -> None:
    """Send short texts until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    url = parser.parse_args().url
    ended = threading.Event()
    threading.Thread(target=_until_input_ends, args=(ended,), daemon=True).start()
    taken: list[tuple[float, int]] = []
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        while not ended.is_set():
            started = time.perf_counter()
            answer = client.post("/v1/embeddings", json={"input": f"short text {len(taken)}"})
            taken.append((time.perf_counter() - started, answer.status_code))
            if len(taken) == 1:
                sys.stdout.write("\n")
                sys.stdout.flush()
            ended.wait(max(0.0, EVERY_S - taken[-1][0]))
    sys.stdout.write(json.dumps(taken))


def _until_input_ends(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
