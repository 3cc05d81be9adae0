"""./embeddings embed and rank: what they send to a service, and what they print."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import free_port
from tests.command_line import run
from tests.unit.fakes import Quiet, listening


class Service(Quiet, BaseHTTPRequestHandler):
    """Ranks documents by their length, and embeds a text as its length; refuses the model `none`."""

    bodies: list[Any] = []  # noqa: RUF012  # of all requests
    keys: list[str | None] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        self.keys.append(self.headers["Authorization"])
        status, answer = 200, self.ranking(body) if self.path == "/v1/rerank" else {"data": [], "model": "m"}
        if body.get("model") == "none":
            status, answer = 404, {"error": {"message": "There is no model of that name."}}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def ranking(self, body: Any) -> dict[str, Any]:
        places = sorted(range(len(body["documents"])), key=lambda place: -len(body["documents"][place]))
        scores = [{"index": place, "relevance_score": len(body["documents"][place]) / 10} for place in places]
        return {"results": scores[: body["top_n"]], "warnings": ["documents.0 was cut"]}


@pytest.fixture
def url() -> Iterator[str]:
    Service.bodies, Service.keys = [], []
    with listening(Service) as port:
        yield f"http://127.0.0.1:{port}"


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Text on standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_ranking(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rank", "q", "a", "[bold]b", "ccc", "--top", "2", "--model", "m", "--url", f"{url}/v1/") == 0
    sent = {"query": "q", "documents": ["a", "[bold]b", "ccc"], "top_n": 2, "return_documents": True, "model": "m"}
    assert Service.bodies == [sent]
    captured = capsys.readouterr()
    assert captured.out == "  1  0.7000  [bold]b\n  2  0.3000  ccc\n"
    assert captured.err == "documents.0 was cut\n"


def test_lines_of_a_file_and_of_standard_input(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\n\ntwo\n", encoding="utf-8")
    assert run("rank", "q", "--file", lines, "--url", url, "--json") == 0
    assert [each["index"] for each in json.loads(capsys.readouterr().out)["results"]] == [0, 1]
    give(monkeypatch, "瑠璃色\n")
    assert run("embed", "--url", url, "--dimensions", "2", "--input-type", "query") == 0
    assert Service.bodies[0]["documents"] == ["one", "two"]
    assert Service.bodies[1] == {"input": ["瑠璃色"], "dimensions": 2, "input_type": "query"}


def test_the_key_of_the_service(url: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n", encoding="utf-8")
    assert run("embed", "text", "--url", url, "--api-key-file", tmp_path / "key") == 0
    assert Service.keys == ["Bearer secret"]


def test_problems_of_the_service(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rank", "q", "text", "--url", url, "--model", "none") == 1
    assert capsys.readouterr().err == "There is no model of that name.\n"
    assert run("embed", "text", "--url", url, "--api-key-file", "/nowhere") == 1
    assert capsys.readouterr().err == "/nowhere cannot be read (No such file or directory).\n"
    absent = f"http://127.0.0.1:{free_port()}"
    assert run("embed", "text", "--url", absent, "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith(f"{absent} does not respond (ConnectError).")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["embed"], ""),
        (["rank", "q"], "\n \n"),
        (["rank", "q", "--file", "/nowhere"], ""),
        (["embed", "text", "--out", "vectors.csv"], ""),
        (["embed", "--file", "corpus.jsonl"], ""),
        (["embed", "text", "--file", "corpus.jsonl", "--out", "vectors.npy"], ""),
        (["embed", "--file", "s3://bucket/corpus.jsonl", "--out", "vectors.npy"], ""),
        (["embed", "text", "--out", "folder", "--on", "ray"], ""),
        (["embed", "--file", "folder", "--out", "vectors", "--on", "ray", "--url", "http://localhost"], ""),
        (["embed", "text", "--url", "localhost:7987"], ""),
        (["embed", "text", "--url", "http://["], ""),
        (["rank"], ""),
    ],
)
def test_invalid_commands(arguments: list[str], given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, given)
    assert run(*arguments) == 2
