"""Records the requests of clients in `captured/`: `.venv-clients/bin/python -m tests.clients.capture`.

The quick environment records the official clients, the other one the other libraries, and one of your own with
`pip install pymilvus.model requests httpx` the functions of Milvus' client, which need onnxruntime.
tests/e2e/test_captured_requests.py replays the files.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.clients.environment import isolate, main_process

FOLDER = Path(__file__).parent / "captured"
KEPT_HEADERS = ("accept", "api-key", "authorization", "content-type", "user-agent", "x-fern-sdk-name")
"""Headers to record; Accept-Encoding depends on installed packages. Keys and versions are replaced."""

Request = dict[str, Any]


class Recorder:
    """A proxy in front of the service that records all POST requests."""

    def __init__(self, upstream: str) -> None:
        self.requests: list[Request] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.requests.append(_request(self.path, dict(self.headers.items()), body))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host",)}
                answer = httpx.post(upstream + self.path, content=body, headers=headers, timeout=60)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["content-type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["Recorder"]:
        """Run the proxy until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, name="recorder", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _request(path: str, headers: dict[str, str], body: bytes) -> Request:
    given = {name.lower(): value for name, value in headers.items()}
    kept = {name: given[name] for name in KEPT_HEADERS if name in given}
    if "authorization" in kept:
        kept["authorization"] = "Bearer dummy"
    if "user-agent" in kept:
        kept["user-agent"] = kept["user-agent"].partition("/")[0]
    return {"method": "POST", "path": path, "headers": kept, "body": json.loads(body)}


def capture(upstream: str) -> dict[str, dict[str, Any]]:
    """Name -> the call and its request, for all installed clients."""
    from tests.clients.calls import calls

    captured = {}
    for call in calls():
        recorder = Recorder(upstream)
        with recorder.running():
            call.run(recorder.url)
        assert len(recorder.requests) == 1, f"{call.name} made {len(recorder.requests)} requests"
        captured[call.name] = {"means": call.means, "request": recorder.requests[0]}
    return captured


def write(captured: dict[str, dict[str, Any]]) -> None:
    """Write a file for each request."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in captured.items():
        text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def kept(name: str) -> dict[str, Any]:
    """The content of a recorded file."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    isolate()
    with main_process("tests.clients.server") as process:
        assert process.stdout is not None
        captured = capture(json.loads(process.stdout.readline())["open"])
    write(captured)
    sys.stdout.write(f"{len(captured)} requests in {FOLDER.name}/\n")
