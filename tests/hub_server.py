"""A Hugging Face Hub for tests: serves folders as repositories on 127.0.0.1 to the real client.

It has the routes that `huggingface_hub` 2.4 uses for a model: repository info and `resolve` with its metadata headers,
without Xet. LFS files redirect to a CDN on a second port, because the client reads a redirect's
headers and drops its token only across origins. One difference: anonymous errors have `X-Error-Code: RepoNotFound`,
which the client infers only for https.
"""

import asyncio
import hashlib
import math
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import pytest
import uvicorn
from huggingface_hub import close_session, constants
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

LFS_SUFFIXES = {".safetensors", ".bin", ".onnx", ".pt", ".model"}  # from the Hub's default .gitattributes
LFS_MIN_BYTES = 10 * 1024 * 1024  # larger files must be in LFS
TICK_S = 0.02
API_PATH = re.compile("/api/models/([^/]+(?:/[^/]+)?)(?:/(revision)/([^/]+)(?:/(.*))?)?")
FILE_PATH = re.compile("/([^/]+(?:/[^/]+)?)/(resolve)/([^/]+)/(.+)")
Json = dict[str, Any]


@dataclass(frozen=True)
class HubFile:
    """One file of one commit. `etag` is the sha256 for LFS files, otherwise git's `blob_id`."""

    source: Path
    size: int
    blob_id: str
    etag: str
    lfs: Json = field(default_factory=dict)  # for the repository's info

    @classmethod
    def read(cls, source: Path) -> Self:
        size = source.stat().st_size
        if source.suffix not in LFS_SUFFIXES and size < LFS_MIN_BYTES:
            return cls(source, size, blob_id := _git_blob_id(source.read_bytes()), etag=blob_id)
        with source.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        lfs = {"sha256": sha256, "size": size, "pointerSize": len(pointer)}
        return cls(source, size, _git_blob_id(pointer), etag=sha256, lfs={"lfs": lfs})


@dataclass
class HubRepo:
    """Commits by hash, files by path, refs to commits, and access."""

    full_name: str
    token: str | None = None
    gated: bool = False
    commits: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedRequest:
    """A request to "hub" or "cdn"; header names in lower case, the path unquoted."""

    host: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """A fault of the next `times` matching requests: a status, a hang, or a closed connection `after_bytes`."""

    path_suffix: str
    method: str | None = None
    times: float = 1
    status: int | None = None
    after_bytes: int | None = None
    hangs: bool = False
    arrived: threading.Event = field(default_factory=threading.Event)  # set once a request hangs
    released: threading.Event = field(default_factory=threading.Event)  # set it to continue all of them


class RefusedError(Exception):
    """An error response: a status, and the code that selects the client's exception."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        self.response = Response(message, status, {name: value for name, value in headers.items() if value})


class HubServer:
    """`with HubServer() as hub:` serves until the block ends; `hub.endpoint` is for HF_ENDPOINT."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.downloads: list[str] = []  # paths in the repository, one for each started body
        self._repos: dict[str, HubRepo] = {}
        self._cdn_files: dict[str, FileResponse] = {}
        self._faults: list[Fault] = []
        self._slow: dict[str, int] = {}
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in ("hub", "cdn")]
        self.endpoint, self.cdn = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in listeners)
        # No log level, because it would change uvicorn's loggers for all other tests of the process
        options: Json = {"interface": "asgi3", "lifespan": "off", "http": "h11", "log_config": None}
        self._uvicorn = uvicorn.Server(uvicorn.Config(self._app, timeout_graceful_shutdown=1, **options))
        self._thread = threading.Thread(target=self._uvicorn.run, args=(listeners,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()  # the sockets already listen
        return self

    def __exit__(self, *error: object) -> None:
        self._uvicorn.should_exit = True
        for fault in self._faults:
            fault.released.set()
        self._thread.join()

    def add(
        self,
        full_name: str,
        folder: Path,
        *,
        commit: str | None = None,
        revision: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Publish a folder as the commit of `revision`; earlier commits are kept.

        With `token` the repository is private; if `gated`, only its files are. The default commit is a hash of paths
        and contents, so do not change the folder afterwards.
        """
        found = [source for source in sorted(folder.rglob("*")) if source.is_file()]
        files = {source.relative_to(folder).as_posix(): HubFile.read(source) for source in found}
        listing = "".join(f"{path}\0{file.blob_id}\n" for path, file in files.items())
        commit = commit or hashlib.sha1(listing.encode()).hexdigest()
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise ValueError(f"a commit is 40 lower-case hex digits, not {commit!r}")
        repo = self._repos.setdefault(full_name, HubRepo(full_name))
        repo.token, repo.gated = token, gated
        repo.commits[commit], repo.refs[revision] = files, commit
        return commit

    def fail_next(self, path_suffix: str, status: int, *, method: str | None = None, times: int = 1) -> None:
        """Respond with a status. LFS files are requested by HEAD from the hub and by GET from the CDN."""
        self._faults.append(Fault(path_suffix, method, times, status))

    def cut_next(self, path_suffix: str, after_bytes: int, *, times: int = 1) -> None:
        """Close the connection after this many bytes of a file's body."""
        self._faults.append(Fault(path_suffix, times=times, after_bytes=after_bytes))

    def hang(self, path_suffix: str, *, method: str | None = None, after_bytes: int | None = None) -> Fault:
        """Block all matching requests, before the response or inside a file, until `released` is set."""
        self._faults.append(Fault(path_suffix, method, math.inf, after_bytes=after_bytes, hangs=True))
        return self._faults[-1]

    def slow(self, path_suffix: str, bytes_per_second: int) -> None:
        """Throttle all matching files from now on."""
        self._slow[path_suffix] = bytes_per_second

    def environment(self, hf_home: Path) -> dict[str, str]:
        """Environment of a child process: this Hub, a separate cache, no tokens, no telemetry."""
        home = {"HF_HOME": str(hf_home), "HF_TOKEN": "", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {"HF_ENDPOINT": self.endpoint, "NO_PROXY": "127.0.0.1"} | home

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        path = scope["path"]
        host = "hub" if self.endpoint.endswith(f":{scope['server'][1]}") else "cdn"
        self.requests.append(RecordedRequest(host, request.method, path, dict(request.headers)))
        fault = self._take_fault(request.method, path, in_body=False)
        try:
            if fault:
                await self._strike(fault)
            response = self._answer(request) if host == "hub" else self._cdn_files[path]
        except RefusedError as refusal:
            response = refusal.response
        if request.method == "GET" and isinstance(response, FileResponse):
            self.downloads.append(response.filename or "")
            send = self._impeded(path, send)
        with suppress(ConnectionAbortedError):  # uvicorn then closes the connection of the unfinished body
            await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        """Check repository, revision and file in the Hub's order."""
        raw_path = request.scope["raw_path"].decode()  # `refs%2Fpr%2F1` is one segment
        if not (match := API_PATH.fullmatch(raw_path) or FILE_PATH.fullmatch(raw_path)):
            raise RefusedError(404, f"this Hub has nothing at {raw_path}")
        full_name, kind, revision, path = (unquote(part or "") for part in match.groups())
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        repo = self._readable(full_name, token)
        commit = repo.refs.get(revision or "main", revision)
        if commit not in repo.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if kind != "resolve":
            return JSONResponse(_info(repo, commit, with_sizes="blobs" in request.query_params))
        if repo.gated and token != repo.token:
            raise RefusedError(403 if token else 401, f"Access to {full_name} is restricted.", "GatedRepo")
        if not (file := repo.commits[commit].get(path)):
            raise RefusedError(404, "Entry not found", "EntryNotFound", commit)
        etag, headers = f'"{file.etag}"', {"X-Repo-Commit": commit}
        if not file.lfs:
            return FileResponse(file.source, headers=headers | {"ETag": etag}, filename=path)
        location = f"/{full_name}/{file.etag}/{path}"
        self._cdn_files[location] = FileResponse(file.source, headers={"ETag": etag}, filename=path)
        headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(file.size)}
        return Response(status_code=302, headers=headers | {"Location": self.cdn + quote(location)})

    def _readable(self, full_name: str, token: str) -> HubRepo:
        """The repository; the same error for missing and private ones, like the Hub."""
        repo = self._repos.get(full_name)
        if repo and (repo.gated or repo.token in (None, token)):
            return repo
        raise RefusedError(404 if token else 401, "Repository not found", "RepoNotFound")

    def _impeded(self, path: str, send: Send) -> Send:
        """`send` for a file's body with throttling and faults."""
        fault = self._take_fault("GET", path, in_body=True)
        fault_at = math.inf if fault is None or fault.after_bytes is None else fault.after_bytes
        pace = next((rate for suffix, rate in self._slow.items() if path.endswith(suffix)), math.inf)
        sent = 0

        async def impeded(message: Message) -> None:
            nonlocal sent
            body, more_body = message.pop("body", b""), message.pop("more_body", False)
            while body:
                if fault and sent == fault_at:
                    await self._strike(fault)
                room = fault_at - sent if sent < fault_at else math.inf
                size = int(min(len(body), room, max(1, pace * TICK_S)))
                await send({**message, "body": body[:size], "more_body": True})
                body = body[size:]
                sent += size
                await asyncio.sleep(size / pace)
            if not more_body:
                await send(message)

        return impeded

    def _take_fault(self, method: str, path: str, *, in_body: bool) -> Fault | None:
        for fault in self._faults:
            matches = fault.method in (None, method) and path.endswith(fault.path_suffix)
            if matches and fault.times > 0 and in_body == (fault.after_bytes is not None):
                fault.times -= 1
                return fault
        return None

    async def _strike(self, fault: Fault) -> None:
        if fault.status:
            raise RefusedError(fault.status, "made to fail")
        if not fault.hangs:
            raise ConnectionAbortedError
        fault.arrived.set()
        await asyncio.to_thread(fault.released.wait)


def _git_blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _info(repo: HubRepo, commit: str, *, with_sizes: bool) -> Json:
    siblings: list[Json] = []
    for path, file in repo.commits[commit].items():
        sizes = {"size": file.size, "blobId": file.blob_id} | file.lfs
        siblings.append({"rfilename": path} | (sizes if with_sizes else {}))
    private, gated = repo.token is not None and not repo.gated, "manual" if repo.gated else False
    return {"id": repo.full_name, "sha": commit, "siblings": siblings, "private": private, "gated": gated}


@contextmanager
def hub_alone() -> Iterator[HubServer]:
    """A Hub that a client without token and proxy asks; constants stand for what was read at import."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        patch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")
        close_session()
        with HubServer() as server:
            yield server
        close_session()
