"""Runs attacks of one client, one after the other, while another client sends a short text every second.

    python -m tests.programs.hostile                       # all attacks, against a new service
    python -m tests.programs.hostile --attack imports      # one

Serves like ./start.sh, with ADMIN to unload imported models: the real all-MiniLM-L6-v2, and tiny random models with the
full token limits of a yes/no reranker and two embedders for long texts. Prints a JSON report. The exit status is 0 if
no response was a 5xx, every short text took at most SHORT_TEXT_S, and after each attack the service's memory returned
to within MEMORY_TOLERANCE of its previous value.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

import tests.tiny
from models.catalog import CATALOG_PATH
from tests.hub_server import HubServer
from tests.programs.short_texts import TIMEOUT_S, short_texts
from tests.serving import Served, http_client, import_models, serve

SHORT_TEXT_S = 1.0
MEMORY_TOLERANCE = 0.10
SETTLE_S = 60
"""Time limit for memory to be released: a batch continues after its client has disconnected."""
REAL = "all-minilm-l6-v2"
YES_NO = "hostile-yes-no"
SETTINGS = {
    "EMBEDDING_MODEL_NAME": REAL,
    "RERANKER_MODEL_NAME": YES_NO,
    "PRELOAD_MODELS": REAL,
    "CPU_THREADS": "0",
    "ADMIN": "true",
}
LONG = {"hostile-causal": 32_000, "hostile-window": 8_192}
"""Embedding model -> number of words in its text."""
SOURCES = {
    YES_NO: "Qwen/Qwen3-Reranker-0.6B",
    "hostile-causal": "Qwen/Qwen3-Embedding-0.6B",
    "hostile-window": "cl-nagoya/ruri-v3-30m",
}
IMPORTED = "intfloat/e5-base"
IMPORTS = [f"hostile-import-{number}" for number in range(12)]
UNWANTED = "hostile-import-of-a-page"


@dataclass(frozen=True)
class Attack:
    """Concurrent requests of one client: path, headers, body; the client disconnects after `leaves_after_s`."""

    requests: list[tuple[str, dict[str, str], bytes]]
    leaves_after_s: float = TIMEOUT_S


def post(path: str, body: Any, **headers: str) -> tuple[str, dict[str, str], bytes]:
    """A request with a JSON body."""
    return path, {"content-type": "application/json"} | headers, json.dumps(body).encode()


def many_tokens() -> Attack:
    return Attack([post("/tokenize", {"inputs": "a b " * 1_000_000}), post("/v1/tokenize", {"input": "a b " * 10**6})])


def few_tokens() -> Attack:
    blanks = [post("/v1/embeddings", {"input": " " * 8_000_000}), post("/v1/embeddings", {"input": "\u3000" * 2**21})]
    blank_id = 3909  # many spaces in cl100k_base
    return Attack([*blanks, post("/v1/embeddings", {"input": [blank_id] * 1_500_000})])


def many_fields() -> Attack:
    names = [f"{number}" for number in range(150_000)]
    return Attack([post("/v1/rerank", {"query": "q", "documents": [{"text": "d"}] * 50, "rank_fields": names})])


def long_query() -> Attack:
    """200 texts of the maximum length, which take minutes; the client disconnects."""
    documents = [f"document {number}" for number in range(200)]
    body = {"model": YES_NO, "query": "query " * 170_000, "documents": documents}
    return Attack([post("/v1/rerank", body)], leaves_after_s=60)


def long_texts() -> Attack:
    """Long texts, alone and in a batch with others."""
    texts = {model: "long text " * (length // 2) for model, length in LONG.items()}
    alone = [post("/v1/embeddings", {"model": model, "input": text}) for model, text in texts.items()]
    batched = [post("/v1/embeddings", {"model": model, "input": [text, "a", text]}) for model, text in texts.items()]
    return Attack([*alone, *batched])


def many_texts() -> Attack:
    """A client that disconnects."""
    texts = [f"{number} " + "word " * 5_600 for number in range(2_048)]
    return Attack([post("/v1/embeddings", {"input": texts})], leaves_after_s=15)


def low_priority() -> Attack:
    bodies = [
        {"input": [f"passage {job} {number} of a few words " * 4 for number in range(256)], "priority": priority}
        for job, priority in enumerate((999, 0, 0, 0, 0, 0, 0))
    ]
    return Attack([post("/v1/embeddings", body) for body in bodies])


def imports() -> Attack:
    return Attack([post("/v1/embeddings", {"model": name, "input": "a"}) for name in IMPORTS])


def other_site() -> Attack:
    page = {"sec-fetch-site": "cross-site", "origin": "https://page.example", "content-type": "text/plain"}
    return Attack([post("/v1/embeddings", {"model": UNWANTED, "input": "a"}, **page)])


ATTACKS: dict[str, Callable[[], Attack]] = {
    "many_tokens": many_tokens,
    "few_tokens": few_tokens,
    "many_fields": many_fields,
    "long_query": long_query,
    "long_texts": long_texts,
    "many_texts": many_texts,
    "low_priority": low_priority,
    "imports": imports,
    "other_site": other_site,
}


def send(url: str, attack: Attack) -> Counter[str]:
    """Send all requests of an attack at once: the number of responses by status."""

    def one(request: tuple[str, dict[str, str], bytes]) -> str:
        path, headers, body = request
        try:
            with http_client(base_url=url, timeout=attack.leaves_after_s) as client:
                return str(client.post(path, headers=headers, content=body).status_code)
        except httpx.TimeoutException:
            return "left" if attack.leaves_after_s < TIMEOUT_S else "no answer"

    with ThreadPoolExecutor(len(attack.requests)) as pool:
        return Counter(pool.map(one, attack.requests))


def resident(served: Served) -> int:
    """Memory of the workers and their children, in bytes."""
    workers = served.workers()
    return sum(each.memory_info().rss for worker in workers for each in (worker, *worker.children(recursive=True)))


def settled(served: Served, before: int, settle_s: float) -> int:
    """Memory when it has returned to `before`, or after `settle_s`."""
    until = time.monotonic() + settle_s
    while (now := resident(served)) > before * (1 + MEMORY_TOLERANCE) and time.monotonic() < until:
        time.sleep(1)
    return now


def unload_imported(url: str) -> None:
    """Unload imported models, so that only leaks remain."""
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        loaded = client.get("/health").json()["models_loaded"]
        for name in set(loaded) & set(IMPORTS):
            client.post(f"/models/{name}/unload").raise_for_status()


def launch(served: Served, name: str, settle_s: float = SETTLE_S) -> dict[str, Any]:
    """Run one attack and return its results."""
    attack = ATTACKS[name]()
    before, peak, stop = resident(served), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            try:
                peak[0] = max(peak[0], resident(served))
            except psutil.NoSuchProcess:  # a finished import
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    taken: list[tuple[float, int]] = []
    started = time.monotonic()
    with short_texts(served.url, taken):
        statuses = send(served.url, attack)
        unload_imported(served.url)
    seconds = time.monotonic() - started
    stop.set()
    watcher.join()
    after = settled(served, before, settle_s)
    return {
        "seconds": round(seconds, 1),
        "statuses": dict(statuses),
        "short_texts": len(taken),
        "short_statuses": {str(status): number for status, number in Counter(s for _, s in taken).items()},
        "short_max_s": round(max(duration for duration, _ in taken), 3),
        "rss_before_mb": before // 10**6,
        "rss_peak_mb": peak[0] // 10**6,
        "rss_after_mb": after // 10**6,
        "memory": round(after / before - 1, 3),
    }


def wrong(report: dict[str, dict[str, Any]]) -> list[str]:
    """Attacks with a 5xx or without a response, or with a failed short text."""
    return [
        name
        for name, found in report.items()
        if any(status[0] not in "24" and status != "left" for status in found["statuses"])
        or set(found["short_statuses"]) != {"200"}
    ]


def slow(report: dict[str, dict[str, Any]]) -> list[str]:
    """Attacks that delayed a short text."""
    return [name for name, found in report.items() if found["short_max_s"] > SHORT_TEXT_S]


def kept(report: dict[str, dict[str, Any]]) -> list[str]:
    """Attacks after which memory was not released."""
    return [name for name, found in report.items() if found["memory"] > MEMORY_TOLERANCE]


def write_catalog(home: Path) -> Path:
    """A catalogue of the tiny models, with other names: they would not match golden numbers of the real ones."""
    known = {block["repo"]: block for block in yaml.safe_load(CATALOG_PATH.read_text(encoding="utf-8"))["models"]}
    models = [known[source] | {"name": name, "repo": f"hostile/{name}"} for name, source in SOURCES.items()]
    models += [{"name": name, "repo": f"hostile/{name}", "kind": "embedding"} for name in (*IMPORTS, UNWANTED)]
    for model in models:
        model.pop("revision", None)
    path = home / "catalog.yaml"
    path.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    return path


@contextmanager
def service() -> Iterator[Served]:
    """A service with the models of the attacks, and a Hub with those of `imports`."""
    with tempfile.TemporaryDirectory() as folder, HubServer() as hub:
        home = Path(folder)
        settings: dict[str, Any] = SETTINGS | {"EXTRA_CATALOG": str(write_catalog(home))}
        import_models(home, REAL, **settings)
        for name, source in SOURCES.items():
            origin = tests.tiny.build(source, home / "checkpoints" / name)
            import_models(home, name, "--from-dir", str(origin), **settings)
        for number, name in enumerate(IMPORTS):
            hub.add(f"hostile/{name}", tests.tiny.build(IMPORTED, home / "hub" / name, seed=number))
        with serve(home, **settings | hub.environment(home / "hf")) as served:
            warm_up(served.url)
            yield served


def warm_up(url: str) -> None:
    """Load each model, and let it allocate the memory that it keeps."""
    words = "some words " * 100
    long = {model: "long text " * (length // 2) for model, length in LONG.items()}
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for name in (REAL, *LONG):
            texts = [f"{number} {words}" for number in range(64)] + [long.get(name, words)]
            client.post("/v1/embeddings", json={"model": name, "input": texts}).raise_for_status()
        client.post("/v1/embeddings", json={"input": [1, 2, 3]}).raise_for_status()  # loads OpenAI's tokenizer
        body = {"model": YES_NO, "query": words, "documents": [words] * 32 + [" ".join(long.values())]}
        client.post("/v1/rerank", json=body).raise_for_status()


def run(names: list[str]) -> dict[str, dict[str, Any]]:
    """Run attacks against one service."""
    report: dict[str, dict[str, Any]] = {}
    with service() as served:
        for name in names:
            report[name] = launch(served, name)
            sys.stderr.write(f"{name}: {json.dumps(report[name])}\n")
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", action="append", choices=ATTACKS, help="only this one; repeat for several")
    options = parser.parse_args()
    report = run(options.attack or list(ATTACKS))
    judged = {"wrong": wrong(report), "slow": slow(report), "memory": kept(report)}
    sys.stdout.write(json.dumps({"attacks": report} | judged, indent=2) + "\n")
    return int(any(judged.values()))


if __name__ == "__main__":
    sys.exit(main())
