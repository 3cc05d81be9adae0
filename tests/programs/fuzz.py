"""Sends arbitrary bytes to all POST routes of a running service, to find 5xx, hangs and leaks.

    bentoml serve &                                       # anywhere
    python -m tests.programs.fuzz --url http://127.0.0.1:7987 --pid <pid of the worker> --minutes 10

Bodies are valid requests with changed, removed or repeated bytes and swapped JSON values, or random bytes. Some are raw
HTTP with wrong lengths, encodings and methods. Prints a JSON report. The exit status is 0 if no response was a 5xx,
each came within HANG_S, and resident memory, threads and file descriptors at the end are within 5 % of their values
after the first fifth of the time (only with --pid). The seed makes a run reproducible; failing bodies are printed.
"""

import argparse
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from api.routes import ENDPOINTS

HANG_S = 30.0
THREADS = 4
TOLERANCE = 0.05
PATHS = [endpoint.path for endpoint in ENDPOINTS if endpoint.forms]
EMBEDDINGS, RERANK, EMBED = ("/v1/embeddings", "/embeddings"), ("/v1/rerank", "/rerank"), ("/embed", "/")
BODIES: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (EMBEDDINGS, {"input": ["a", {"text": "b"}], "encoding_format": "base64", "dimensions": 8, "truncate": "START"}),
    (EMBEDDINGS, {"input": [[9906, 1917], [15339]], "token_encoding": "cl100k_base", "output_dtype": "ubinary"}),
    (EMBEDDINGS, {"input": [[101, 102]], "token_encoding": "model", "embedding_type": "int8", "task": "separation"}),
    (RERANK, {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": "true"}),
    (RERANK, {"query": {"text": "q"}, "documents": [{"title": "t"}], "rank_fields": ["title"], "raw_scores": True}),
    (("/rerank",), {"query": "q", "texts": ["a", "b"], "return_text": True, "truncation_direction": "Left"}),
    (("/v2/rerank",), {"query": "q", "documents": ["a", "b"], "max_tokens_per_doc": 3, "top_n": None, "priority": 3}),
    (("/v1/embed", "/v2/embed"), {"texts": ["a"], "embedding_types": ["int8", "base64"], "output_dimension": 8}),
    (("/v1/embed", "/v2/embed"), {"inputs": [{"content": [{"type": "text", "text": "a"}]}], "truncate": "NONE"}),
    (EMBED, {"inputs": ["a", "b"], "normalize": False, "prompt_name": None, "truncate": True}),
    (("/similarity", "/"), {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"truncate": True}}),
    (("/tokenize",), {"inputs": "a text", "add_special_tokens": False}),
    (("/v1/tokenize",), {"input": ["a text"], "input_type": "query"}),
]
"""Valid requests and their routes."""
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**30,
        1e308,
        -0.0,
        "",
        " ",
        "\x00",
        "a" * 3000,
        "日本語🙂",
        "\ud800",
    ),
    *([], [[]], [[[]]], {}, {"text": None}, {"text": "x"}, [1, "a"], ["a", 1], [None], [{}], [[1], ["a"]], "true"),
]


@dataclass
class Findings:
    """Results of the requests; shared by the threads."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: str, seconds: float, problem: str = "") -> None:
        with self.lock:
            self.statuses[answer] += 1
            self.slowest_s = max(self.slowest_s, seconds)
            if problem:
                self.wrong.append(problem[:2000])


def mutated_json(source: random.Random, value: Any) -> Any:
    """The value with some parts replaced, duplicated, removed or renamed."""
    if source.random() < 0.04:
        return source.choice(VALUES)
    if isinstance(value, dict):
        items = [(key, mutated_json(source, part)) for key, part in value.items() if source.random() < 0.95]
        if source.random() < 0.1:
            items.append((source.choice([*value, "model", "priority", "x"]), source.choice(VALUES)))
        return dict(items)
    if isinstance(value, list):
        parts = [mutated_json(source, part) for part in value]
        return parts * source.randint(1, 4) if source.random() < 0.05 else parts
    return value


def mutated_bytes(source: random.Random, body: bytes) -> bytes:
    """The bytes with some changed, removed, duplicated or replaced by random ones."""
    content = bytearray(body)
    for _ in range(source.randint(0, 4)):
        place, length = source.randrange(len(content) + 1), source.randint(1, 20)
        kind = source.randrange(4)
        if kind == 0:
            content[place : place + length] = source.randbytes(length)
        elif kind == 1:
            del content[place : place + length]
        elif kind == 2:
            content[place:place] = content[place : place + length] * source.randint(1, 50)
        else:
            content[place:place] = source.choice([b"[", b"{", b'"', b"\\u", b"NaN", b"\xff", b",", b"1e999", b"\x00"])
    return bytes(content)


def make_request(source: random.Random) -> tuple[str, bytes]:
    """A route and a body, which may be valid or random."""
    paths, right = source.choice(BODIES)
    path = source.choice(paths if source.random() < 0.85 else PATHS)
    kind = source.random()
    if kind < 0.05:
        return path, source.randbytes(source.randint(0, 500))
    content = json.dumps(mutated_json(source, right), ensure_ascii=source.random() < 0.5)
    body = content.encode("utf-8", "surrogatepass")
    return path, body if kind < 0.6 else mutated_bytes(source, body)


def raw_request(source: random.Random, host: str, path: str, body: bytes) -> bytes:
    """An invalid HTTP request as bytes."""
    length = source.choice([str(len(body)), str(len(body) + 5), "0", "-1", "x", "99999999999999999999"])
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()
    return mutated_bytes(source, head) + body


def send_raw(address: tuple[str, int], content: bytes) -> str:
    """Status line of the response to raw bytes; `closed` without a response."""
    with socket.create_connection(address, timeout=HANG_S) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            received = connection.recv(4096)
            while received and (part := connection.recv(65536)):
                received = (received + part)[:4096]
        except ConnectionError:
            return "closed"
    return received[9:12].decode("latin-1") if received else "closed"


def fuzz(url: str, seconds: float, seed: int, findings: Findings) -> None:
    """Send the requests of one thread until the time is over."""
    source = random.Random(seed)
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    until = time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=HANG_S) as client:
        while time.monotonic() < until:
            path, body = make_request(source)
            started = time.monotonic()
            try:
                if source.random() < 0.1:
                    answer = send_raw((parts.hostname, parts.port), raw_request(source, parts.netloc, path, body))
                else:
                    headers = {"Content-Type": "application/json"}
                    answer = str(client.post(path, content=body, headers=headers).status_code)
                problem = f"{answer} {path} {body!r}" if answer.startswith("5") else ""
            except (httpx.HTTPError, TimeoutError) as error:
                answer, problem = type(error).__name__, f"{type(error).__name__} {path} {body!r}"
            findings.note(answer, time.monotonic() - started, problem)


def run(url: str, seconds: float, seed: int, pid: int | None) -> dict[str, Any]:
    """Run all threads, and measure the worker's resources."""
    findings = Findings()
    threads = [
        threading.Thread(target=fuzz, args=(url, seconds, seed * 1000 + number, findings)) for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    worker = psutil.Process(pid) if pid else None
    time.sleep(seconds / 5)
    early = measure(worker)
    for thread in threads:
        thread.join()
    late = measure(worker)
    return {
        "seed": seed,
        "requests": sum(findings.statuses.values()),
        "statuses": dict(findings.statuses),
        "slowest_s": round(findings.slowest_s, 2),
        "wrong": findings.wrong[:5],
        "wrong_count": len(findings.wrong),
        "growth": {name: round(late[name] / early[name] - 1, 4) for name in early},
    }


def measure(worker: psutil.Process | None) -> dict[str, int]:
    """The worker's resident memory, threads and file descriptors."""
    if worker is None:
        return {}
    return {"rss": worker.memory_info().rss, "threads": worker.num_threads(), "files": worker.num_fds()}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7987")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pid", type=int, help="process id of the worker, to watch its memory")
    options = parser.parse_args()
    report = run(options.url, options.minutes * 60, options.seed, options.pid)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return int(report["wrong_count"] > 0 or any(growth > TOLERANCE for growth in report["growth"].values()))


if __name__ == "__main__":
    sys.exit(main())
