"""Mixed load over several models with eviction, to find memory leaks.

    python -m tests.programs.endurance --minutes 30

Serves the real all-MiniLM-L6-v2 and tiny models with a memory budget that is too small for all of them, and sends
single texts, bulk requests, rerank requests and invalid requests from several threads. Prints a JSON report. The exit
status is 0 if every response had the expected status and content, and the worker's resident memory, threads and file
descriptors at the end are within 5 % of their values after the first tenth of the time.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import yaml

import tests.tiny
from models.catalog import load_catalog
from runners.devices import Device, memory_bytes
from runners.pool.capacity import memory_needed
from tests.serving import Served, import_models, serve

REAL = "all-minilm-l6-v2"
EMBEDDERS = ("intfloat/e5-base", "BAAI/bge-small-en-v1.5", "cl-nagoya/ruri-v3-30m")
RERANKERS = ("BAAI/bge-reranker-base", "cross-encoder/ms-marco-MiniLM-L6-v2")
THREADS = 6
TOLERANCE = 0.05
WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while"),
    *("東京", "の", "天気", "は", "晴れ", "です", "and", "nobody", "minds"),
)


@dataclass
class Tally:
    """Results of the requests; shared by the threads."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, answer: httpx.Response, expected: int, problem: str = "") -> None:
        with self.lock:
            self.statuses[f"{kind} {answer.status_code}"] += 1
            if answer.status_code != expected or problem:
                self.wrong.append(f"{kind}: {answer.status_code} {problem} {answer.text[:200]}")


def tiny_name(full_name: str) -> str:
    return "tiny-" + full_name.split("/")[1].lower()


def write_catalog(folder: Path) -> Path:
    """A catalogue of the tiny models, with other names: they would not match golden numbers of the real ones."""
    blocks = []
    for full_name in (*EMBEDDERS, *RERANKERS):
        kind = "embedding" if full_name in EMBEDDERS else "reranker"
        blocks.append({"name": tiny_name(full_name), "repo": f"tiny/{full_name.split('/')[1]}", "kind": kind})
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"models": blocks}), encoding="utf-8")
    return path


def import_all(home: Path, catalog: Path) -> None:
    import_models(home, REAL)
    for full_name in (*EMBEDDERS, *RERANKERS):
        folder = tests.tiny.build(full_name, home / "checkpoints" / tiny_name(full_name))
        import_models(home, tiny_name(full_name), "--from-dir", str(folder), EXTRA_CATALOG=str(catalog))


def budget_fraction() -> float:
    """A memory fraction for the real model and few others."""
    parameters = load_catalog().get(REAL).parameters or 0
    device = Device("cpu", "cpu", "float32", 1)
    return (memory_needed(parameters, "float32") * 1.005) / memory_bytes(device)


def text(source: random.Random, longest: int = 60) -> str:
    return " ".join(source.choices(WORDS, k=source.randint(1, longest)))


def one_request(client: httpx.Client, source: random.Random, tally: Tally, known: dict[str, Any]) -> None:
    kind = source.choices(["single", "bulk", "rerank", "wrong", "known"], weights=[50, 5, 20, 10, 15])[0]
    embedder = source.choice([REAL, REAL, *map(tiny_name, EMBEDDERS)])
    if kind == "single":
        answer = client.post("/v1/embeddings", json={"model": embedder, "input": text(source)})
        tally.note(kind, answer, 200)
    elif kind == "bulk":
        texts = [text(source) for _ in range(64)]
        answer = client.post("/v1/embeddings", json={"model": embedder, "input": texts, "encoding_format": "base64"})
        tally.note(kind, answer, 200, "" if len(answer.json().get("data", [])) == 64 else "items are missing")
    elif kind == "rerank":
        body = {"model": source.choice([REAL, *map(tiny_name, RERANKERS)]), "query": text(source, 8)}
        answer = client.post("/v1/rerank", json=body | {"documents": [text(source) for _ in range(12)]})
        tally.note(kind, answer, 200, "" if len(answer.json().get("results", [])) == 12 else "results are missing")
    elif kind == "wrong":
        tally.note(kind, client.post("/v1/embeddings", json={"model": embedder, "input": []}), 400)
    else:
        answer = client.post("/v1/embeddings", json={"model": REAL, "input": known["text"]})
        found = np.asarray(answer.json()["data"][0]["embedding"]) if answer.status_code == 200 else None
        right = found is not None and float(found @ known["vector"]) > 0.9999
        tally.note(kind, answer, 200, "" if right else "another vector than at the start")


def measure(worker: psutil.Process) -> dict[str, int]:
    return {"rss": worker.memory_info().rss, "threads": worker.num_threads(), "files": worker.num_fds()}


def run(served: Served, seconds: float) -> dict[str, Any]:
    tally, stop = Tally(), threading.Event()
    with httpx.Client(base_url=served.url, timeout=120) as client:
        sentence = "What stays the same for half an hour?"
        vector = client.post("/v1/embeddings", json={"model": REAL, "input": sentence}).json()["data"][0]["embedding"]
    known = {"text": sentence, "vector": np.asarray(vector)}

    def work(seed: int) -> None:
        source = random.Random(seed)
        with httpx.Client(base_url=served.url, timeout=120) as client:
            while not stop.is_set():
                one_request(client, source, tally, known)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    (worker,) = served.workers()
    samples: list[dict[str, int]] = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        time.sleep(min(10, seconds / 40))
        samples.append(measure(worker))
    stop.set()
    for thread in threads:
        thread.join()
    tenth = max(1, len(samples) // 10)
    early = {key: max(sample[key] for sample in samples[: tenth * 2]) for key in samples[0]}
    late = {key: int(np.median([sample[key] for sample in samples[-tenth:]])) for key in samples[0]}
    growth = {key: round(late[key] / early[key] - 1, 4) for key in early}
    return {
        "requests": dict(tally.statuses),
        "wrong": tally.wrong[:10],
        "wrong_count": len(tally.wrong),
        "early": early,
        "late": late,
        "growth": growth,
        "unloads": served.log.count("unloaded "),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        catalog = write_catalog(home)
        import_all(home, catalog)
        settings = {"EXTRA_CATALOG": str(catalog), "MEMORY_FRACTION": f"{budget_fraction():.6f}", "DEVICE": "cpu"}
        with serve(home, **settings) as served:
            result = run(served, options.minutes * 60)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    steady = all(value <= TOLERANCE for value in result["growth"].values())
    return 0 if not result["wrong_count"] and steady else 1


if __name__ == "__main__":
    sys.exit(main())
