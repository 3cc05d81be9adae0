"""Copied programs run unchanged, and print the results that the page shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RERANKER, Site, Visit, axe, settings_of, shot
from tests.browser.lines_field import give_file
from tests.browser.reranking import SHOWN_ATOL, choose, fill, rows, run, shown
from tests.clients.environment import client_python
from tests.conftest import MODEL
from tests.hub_server import HubServer
from tests.serving import Served, copy_home, serve
from tests.tolerance import openvino_precision, shared_pass_atol

WAYS = ["curl", "openai", "cohere", "requests", "javascript"]
KEY = "sk-never-copied"
NASTY = [
    'it\'s "quoted" and `ticked`',
    "two\nlines\r\nand\ttabs",
    "</script><script>alert(1)</script><!-- -->",
    "back\\slash \\n \\u0041 \\' \\\" \\",
    "$HOME ${HOME} $(id) `id` !! !1 %PATH% ; | & > < * ~ #",
    "JSON",
    "EOF\nJSON\n'''\n\"\"\"\n",
    "日本語 ❤️ 👨‍👩‍👧 🗽 é e\u0301",
    "\u2028\u2029\u202e\u0085\u007f\ufeff\u0000\u001b[31m",
    "${process.exit(1)} {braces} f'{1}' %s",
]
ANSWER = {
    "id": "x",
    "model": "m",
    "results": [],
    "data": [],
    "embeddings": {"float": []},
    "response_type": "embeddings_by_type",
    "texts": [],
}
"""Minimal responses for all clients."""
RERANK = {"model": MODEL, "query": NASTY[0], "documents": NASTY, "top_n": 7, "raw_scores": True}
EMBED = {"model": MODEL, "input": NASTY, "dimensions": 64, "input_type": "query"}


@dataclass
class Recorder:
    """A server that records requests."""

    url: str
    requests: list[tuple[str, str, Any, str]] = field(default_factory=list)
    """Method, path, body, and the Authorization header."""


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """A server that records the requests of programs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.requests.append((self.command, self.path, json.loads(body), self.headers.get("authorization", "")))
            answer = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Recorder(f"http://127.0.0.1:{server.server_port}/behind/a/proxy")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def guarded(stocked: Path, hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with an API key."""
    home = copy_home(stocked, tmp_path_factory.mktemp("guarded"))
    shutil.copy(stocked / "catalog.yaml", home)
    with serve(home, **settings_of(home, hub) | {"PRELOAD_MODELS": MODEL, "API_KEYS": KEY}) as served:
        yield served


def execute(way: str, text: str, folder: Path, **environment: str) -> str:
    """Run a program from a file, and return its output."""
    commands = {"curl": ["bash"], "javascript": ["node"]}
    suffix = {"curl": "sh", "javascript": "js"}.get(way, "py")
    command = commands.get(way) or [str(client_python(quick=True))]
    assert shutil.which(command[0]), f"{command[0]} is missing."
    program = folder / f"program.{suffix}"
    program.write_text(text, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    inherited.pop("API_KEY", None)
    result = subprocess.run(
        [*command, program.name],
        cwd=folder,
        env=inherited | {"NO_PROXY": "127.0.0.1", "PYTHONUTF8": "1"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def copied(page: Page, way: str) -> str:
    """The clipboard after Copy."""
    page.locator(".copy-as select").select_option(way)
    page.locator(".copy-as .button").click()
    expect(page.locator(".copy-as [role=status]")).to_have_text("Copied.")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def assert_ranking(answer: str, shown: list[dict[str, Any]]) -> None:
    """Check that a program printed the results that the page shows."""
    results = json.loads(answer)["results"]
    assert [each["index"] for each in results] == [row["index"] for row in shown]
    scores = [each["relevance_score"] for each in results]
    assert scores == pytest.approx([row["score"] for row in shown], abs=SHOWN_ATOL)


@pytest.fixture(scope="module")
def make(visit_page: Page) -> Callable[..., dict[str, str]]:
    """Generate a program with snippets.js."""

    def snippet(way: str, path: str, body: dict[str, Any], root: str, *, key: bool = False) -> dict[str, str]:
        made: dict[str, str] = visit_page.evaluate(
            "async ([way, request, target]) => (await import(new URL('playground/snippets.js', document.baseURI)))"
            ".SNIPPETS[way](request, target)",
            [way, {"method": "POST", "path": path, "body": body}, {"root": root, "key": key}],
        )
        return made

    return snippet


@pytest.fixture(scope="module")
def visit_page(browser: Any, site: Site) -> Iterator[Page]:
    """A page for tests that only use its modules."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/playground?view=rerank&lang=en")
    yield page
    context.close()


@pytest.mark.parametrize("way", WAYS)
def test_copied_programs_print_the_results_of_the_page(visit: Visit, way: str, tmp_path: Path) -> None:
    page = visit("rerank")
    lines = "\n".join(json.dumps({"text": text}) for text in NASTY)
    fill(page, NASTY[4], [])
    give_file(page, "nasty.jsonl", lines)
    choose(page, MODEL)
    page.get_by_label("Raw scores").check()
    page.get_by_label("Best results").fill("7")
    run(page)
    expected = shown(page)
    assert len(expected) == 7
    assert_ranking(execute(way, copied(page, way), tmp_path), expected)


@pytest.mark.parametrize("way", WAYS)
def test_programs_send_the_exact_request(
    make: Callable[..., dict[str, str]], recorder: Recorder, way: str, tmp_path: Path
) -> None:
    execute(way, make(way, "v1/rerank", RERANK, recorder.url)["text"], tmp_path)
    assert recorder.requests.pop()[:3] == ("POST", "/behind/a/proxy/v1/rerank", RERANK)


def test_curl_commands_can_be_pasted_into_a_shell(
    make: Callable[..., dict[str, str]], recorder: Recorder, tmp_path: Path
) -> None:
    """Interactive shells expand "!!"."""
    text = "echo first\n" + make("curl", "v1/rerank", RERANK, recorder.url)["text"]
    shell = ["bash", "--norc", "-i", "-o", "histexpand"]
    subprocess.run(shell, cwd=tmp_path, input=text.encode(), capture_output=True, timeout=300, check=True)
    assert recorder.requests.pop()[2] == RERANK


@pytest.mark.parametrize("way", WAYS)
def test_programs_for_an_embedding_request(
    make: Callable[..., dict[str, str]], recorder: Recorder, way: str, tmp_path: Path
) -> None:
    """Two clients send equivalent requests instead of the page's."""
    execute(way, make(way, "v1/embeddings", EMBED, recorder.url)["text"], tmp_path)
    _, path, body, _ = recorder.requests.pop()
    if way == "cohere":
        texts = {"texts": NASTY, "embedding_types": ["float"], "input_type": "query", "output_dimension": 64}
        assert (path, body) == ("/behind/a/proxy/v1/embed", {"model": MODEL} | texts)
    else:
        default = {"encoding_format": "float"} if way == "openai" else {}
        assert (path, body) == ("/behind/a/proxy/v1/embeddings", EMBED | default)


@pytest.mark.parametrize("way", WAYS)
def test_programs_return_the_vectors_of_the_page(
    make: Callable[..., dict[str, str]], site: Site, way: str, tmp_path: Path
) -> None:
    answer = json.loads(execute(way, make(way, "v1/embeddings", EMBED, site.url)["text"], tmp_path))
    if way == "cohere":
        vectors = answer["embeddings"].get("float") or answer["embeddings"]["float_"]
    else:
        vectors = [each["embedding"] for each in answer["data"]]
    expected = json.loads(execute("curl", make("curl", "v1/embeddings", EMBED, site.url)["text"], tmp_path))
    assert len(vectors) == len(NASTY)
    for vector, each in zip(vectors, expected["data"], strict=True):
        assert vector == pytest.approx(each["embedding"], abs=shared_pass_atol(openvino_precision()))


@pytest.mark.parametrize("way", WAYS)
def test_programs_for_other_routes(
    make: Callable[..., dict[str, str]], recorder: Recorder, way: str, tmp_path: Path
) -> None:
    """Cohere's client does not support them, and the page shows a note instead."""
    body = {"model": MODEL, "inputs": NASTY}
    made = make(way, "tokenize", body, recorder.url)
    if way == "cohere":
        assert not made["text"]
        return
    execute(way, made["text"], tmp_path)
    assert recorder.requests.pop()[:3] == ("POST", "/behind/a/proxy/tokenize", body)


@pytest.mark.parametrize("way", WAYS)
def test_programs_read_the_key_from_the_environment(
    visit_of: Callable[[str], Visit], guarded: Served, way: str, tmp_path: Path
) -> None:
    visit = visit_of(guarded.url)
    visit.allow("status of 401")
    page = visit("rerank", settled=False)
    page.get_by_role("dialog").get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    fill(page)
    choose(page, MODEL)
    run(page)
    text = copied(page, way)
    assert KEY not in text
    assert KEY not in page.content()
    assert_ranking(execute(way, text, tmp_path, API_KEY=KEY), shown(page))


def test_large_requests_are_copied_completely(visit: Visit, tmp_path: Path) -> None:
    """More than the maximum size of a command's argument, and more than the page shows."""
    page = visit("rerank")
    fill(page, "network", [])
    give_file(page, "many.txt", "\n".join(f"Passage {number}: {'network ' * 30}" for number in range(1000)))
    choose(page, RERANKER)
    run(page)
    text = copied(page, "curl")
    assert len(text) > 200_000
    assert len(json.loads(execute("curl", text, tmp_path))["results"]) == 1000
    page.locator(".copy-as summary").click()
    expect(page.locator(".copy-as pre")).to_contain_text("further characters")
    assert len(page.locator(".copy-as pre").inner_text()) < 5000


def test_each_of_two_models_has_its_program(visit: Visit) -> None:
    page = visit("rerank")
    fill(page)
    choose(page, RERANKER, MODEL)
    run(page)
    page.locator(".copy-as summary").click()
    expect(page.locator(".copy-as pre")).to_contain_text(f'"model": "{RERANKER}"')
    page.get_by_label("Request to").select_option("1")
    expect(page.locator(".copy-as pre")).to_contain_text(f'"model": "{MODEL}"')
    page.locator(".copy-as select").select_option("openai")
    expect(page.locator(".copy-as pre")).to_contain_text("from openai import OpenAI")
    axe(page)
    shot(page, "copy-as")


def test_copying_works_without_the_clipboard_api(visit: Visit) -> None:
    """Pages without https have no clipboard API."""
    page = visit("rerank")
    fill(page)
    choose(page, MODEL)
    run(page)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    assert copied(page, "curl").startswith("curl ")
    expect(page.locator(".copy-as .button")).to_be_focused()
    expect(rows(page).first).to_be_visible()
