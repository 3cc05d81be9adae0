"""The stand-in Hub, asked by the real huggingface_hub: what passes is the protocol, not our reading of it."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, close_session, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.hub_server import HubServer

REPO = "acme/tiny-model"
WEIGHTS = bytes(range(256)) * 1024  # 256 KiB: more than one chunk of the server
CONFIG = b'{"hidden_size": 4}\n'


@pytest.fixture(autouse=True)
def _a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No token, proxy or telemetry of the machine's; constants stand for what was read at import."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what arrived is kept by whole chunks only
    close_session()
    yield
    close_session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "published"
    (root / "1_Pooling").mkdir(parents=True)
    (root / "config.json").write_bytes(CONFIG)
    (root / "1_Pooling" / "config.json").write_bytes(b"{}")
    (root / "model.safetensors").write_bytes(WEIGHTS)
    (root / "vocab #1.txt").write_bytes(b"the\n")  # the client never asks for an empty file
    return root


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(page_size=2) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetch(hub: HubServer, cache: Path, file: str, *, token: str | bool = False, revision: str = "") -> Path:
    source = {"endpoint": hub.endpoint, "token": token, "revision": revision or None}
    path = hf_hub_download(REPO, file, cache_dir=cache, etag_timeout=2, **source)
    return Path(path)


def test_the_info_lists_files_sizes_and_checksums(hub: HubServer, folder: Path) -> None:
    commit = hub.add(REPO, folder)
    info = HfApi(endpoint=hub.endpoint).model_info(REPO, files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == (REPO, commit, False, False)
    files = {sibling.rfilename: sibling for sibling in info.siblings or []}
    assert sorted(files) == ["1_Pooling/config.json", "config.json", "model.safetensors", "vocab #1.txt"]
    git = subprocess.run(["git", "hash-object", folder / "config.json"], stdout=subprocess.PIPE, check=True)
    assert (files["config.json"].blob_id, files["config.json"].lfs) == (git.stdout.decode().strip(), None)
    lfs = files["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    without_sizes = HfApi(endpoint=hub.endpoint).model_info(REPO).siblings or []
    assert [sibling.size for sibling in without_sizes] == [None] * 4


def test_the_tree_comes_in_pages(hub: HubServer, folder: Path) -> None:
    hub.add(REPO, folder)
    api = HfApi(endpoint=hub.endpoint)
    entries = list(api.list_repo_tree(REPO, recursive=True))
    folders = [entry.path for entry in entries if isinstance(entry, RepoFolder)]
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    assert folders == ["1_Pooling"]
    assert sizes == {
        "1_Pooling/config.json": 2,
        "config.json": len(CONFIG),
        "model.safetensors": len(WEIGHTS),
        "vocab #1.txt": 4,
    }
    assert len(hub.requests) == 3
    assert [entry.path for entry in api.list_repo_tree(REPO, "1_Pooling")] == ["1_Pooling/config.json"]
    direct = [entry.path for entry in api.list_repo_tree(REPO)]
    assert direct == ["1_Pooling", "config.json", "model.safetensors", "vocab #1.txt"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO, "onnx"))


def test_a_snapshot_downloads_what_the_patterns_allow_and_nothing_twice(
    hub: HubServer, folder: Path, cache: Path
) -> None:
    commit = hub.add(REPO, folder)
    allowed = ["*.safetensors", "*/config.json", "vocab*"]
    for _ in range(2):
        snapshot = snapshot_download(REPO, cache_dir=cache, endpoint=hub.endpoint, allow_patterns=allowed)
    assert Path(snapshot).name == commit
    assert (Path(snapshot) / "model.safetensors").read_bytes() == WEIGHTS
    assert (Path(snapshot) / "1_Pooling" / "config.json").read_bytes() == b"{}"
    assert sorted(hub.downloads) == ["1_Pooling/config.json", "model.safetensors", "vocab #1.txt"]


def test_large_files_come_from_the_cdn_without_the_token(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine")
    blob = fetch(hub, cache, "model.safetensors", token="hf_mine").resolve()
    assert (blob.name, blob.read_bytes()) == (hashlib.sha256(WEIGHTS).hexdigest(), WEIGHTS)
    fetch(hub, cache, "config.json", token="hf_mine")
    trace = [(r.host, r.method, r.headers.get("authorization")) for r in hub.requests]
    assert trace == [
        ("hub", "HEAD", "Bearer hf_mine"),
        ("cdn", "GET", None),
        ("hub", "HEAD", "Bearer hf_mine"),
        ("hub", "GET", "Bearer hf_mine"),
    ]
    assert all("hf_hub/" in request.headers["user-agent"] for request in hub.requests)


def test_revisions_are_branches_refs_and_commits(hub: HubServer, folder: Path, cache: Path) -> None:
    first = hub.add(REPO, folder)
    proposal = folder.with_name("proposal")
    proposal.mkdir()
    (proposal / "config.json").write_bytes(b"[]")
    second = hub.add(REPO, proposal, revision="refs/pr/1")
    assert hub.add(REPO, proposal, revision="v2", commit="c" * 40) == "c" * 40
    api = HfApi(endpoint=hub.endpoint)
    shas = [api.model_info(REPO, revision=ref).sha for ref in (None, "main", first, "refs/pr/1")]
    assert shas == [first, first, first, second]
    assert fetch(hub, cache, "config.json").read_bytes() == CONFIG
    assert fetch(hub, cache, "config.json", revision="refs/pr/1").read_bytes() == b"[]"
    assert fetch(hub, cache, "config.json", revision="c" * 40).parent.name == "c" * 40
    with pytest.raises(ValueError, match="40 lower-case hex digits"):
        hub.add(REPO, proposal, commit="main")


def test_what_is_not_there_is_named(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder)
    api = HfApi(endpoint=hub.endpoint)
    with pytest.raises(RepositoryNotFoundError) as anonymous:
        api.model_info("acme/missing", token=False)
    with pytest.raises(RepositoryNotFoundError) as authenticated:
        api.model_info("missing", token="hf_mine")
    assert (anonymous.value.response.status_code, authenticated.value.response.status_code) == (401, 404)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v9")
    with pytest.raises(RevisionNotFoundError):
        fetch(hub, cache, "config.json", revision="v9")
    with pytest.raises(EntryNotFoundError):
        fetch(hub, cache, "tokenizer.json")
    assert (cache / "models--acme--tiny-model" / ".no_exist").is_dir()


def test_a_private_repository_looks_missing_without_token(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine")
    for token, status in ((False, 401), ("hf_other", 404)):
        with pytest.raises(RepositoryNotFoundError) as refused:
            fetch(hub, cache, "config.json", token=token)
        assert refused.value.response.status_code == status
        assert not isinstance(refused.value, GatedRepoError)
    assert HfApi(endpoint=hub.endpoint, token="hf_mine").model_info(REPO).private is True


def test_a_gated_repository_is_listed_but_not_downloaded(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder, token="hf_mine", gated=True)
    assert HfApi(endpoint=hub.endpoint).model_info(REPO).gated == "manual"
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(GatedRepoError) as refused:
            fetch(hub, cache, "config.json", token=token)
        assert refused.value.response.status_code == status
    assert fetch(hub, cache, "config.json", token="hf_mine").read_bytes() == CONFIG


def test_a_cut_download_goes_on_where_it_stopped(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder)
    hub.cut_next("model.safetensors", 100_000)
    assert fetch(hub, cache, "model.safetensors").read_bytes() == WEIGHTS
    ranges = [request.headers.get("range") for request in hub.requests if request.host == "cdn"]
    assert ranges == [None, "bytes=98304-"]  # 24 whole chunks of 4096 had been kept


def test_a_refused_download_leaves_nothing_behind(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder)
    hub.fail_next("model.safetensors", 403, method="GET")
    with pytest.raises(HfHubHTTPError) as refused:
        fetch(hub, cache, "model.safetensors")
    assert refused.value.response.status_code == 403
    assert list(cache.rglob("*.incomplete")) == []
    assert fetch(hub, cache, "model.safetensors").read_bytes() == WEIGHTS


def test_a_status_fails_as_often_as_asked(hub: HubServer, folder: Path) -> None:
    hub.add(REPO, folder)
    hub.fail_next(f"{REPO}/revision/main", 500, times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="500"):
            HfApi(endpoint=hub.endpoint).model_info(REPO, revision="main")
    assert HfApi(endpoint=hub.endpoint).model_info(REPO, revision="main").id == REPO


def test_a_hanging_request_waits_for_its_release(hub: HubServer, folder: Path) -> None:
    hub.add(REPO, folder)
    hang = hub.hang(REPO)
    with pytest.raises(httpx2.ReadTimeout):
        HfApi(endpoint=hub.endpoint).model_info(REPO, timeout=0.2)
    assert hang.arrived.is_set()
    hang.released.set()
    assert HfApi(endpoint=hub.endpoint).model_info(REPO).id == REPO


def test_a_download_can_stall_midway(
    hub: HubServer, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.add(REPO, folder)
    hang = hub.hang("model.safetensors", after_bytes=8192)
    done: list[Path] = []
    download = threading.Thread(target=lambda: done.append(fetch(hub, cache, "model.safetensors")))
    download.start()
    assert hang.arrived.wait(10)
    assert done == []
    hang.released.set()
    download.join(10)
    assert done[0].read_bytes() == WEIGHTS


def test_a_slow_file_arrives_whole(hub: HubServer, folder: Path, cache: Path) -> None:
    hub.add(REPO, folder)
    hub.slow("model.safetensors", bytes_per_second=len(WEIGHTS) * 4)
    assert fetch(hub, cache, "model.safetensors").read_bytes() == WEIGHTS


def test_the_end_of_the_server_ends_what_hangs(folder: Path, cache: Path) -> None:
    with HubServer() as hub:
        hub.add(REPO, folder)
        hang = hub.hang("config.json")
        errors: list[Exception] = []

        def ask() -> None:
            try:
                httpx2.get(f"{hub.endpoint}/{REPO}/resolve/main/config.json", timeout=10)
            except httpx2.HTTPError as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert hang.arrived.wait(10)
    asking.join(10)
    assert not asking.is_alive()
    with pytest.raises((LocalEntryNotFoundError, httpx2.ConnectError)):
        HfApi(endpoint=hub.endpoint).model_info(REPO)


def test_a_child_process_follows_the_environment(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    commit = hub.add(REPO, folder)
    code = f"import huggingface_hub as h; h.snapshot_download({REPO!r})"
    environment = os.environ | hub.environment(tmp_path / "hf_home")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    snapshot = tmp_path / "hf_home" / "hub" / "models--acme--tiny-model" / "snapshots" / commit
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
