"""Downloads from a local server that speaks the Hub's protocol: only what is needed, resumed, and told why not."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import IO, Any

import pytest
from huggingface_hub.file_download import http_get

from errors import ModelUnavailableError
from importing import disk
from importing import download as downloads
from importing.download import download, needed_files
from models.catalog import ModelSpec
from settings import load_settings
from tests.hub_server import HubServer
from tests.serving import DEAD_ENDPOINT
from tests.unit.fakes import spec, write_files

WANTED = spec()
WEIGHTS = bytes(range(256)) * 1024
NEEDED = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b"{}",
    "model.safetensors": WEIGHTS,
}
NOT_NEEDED = {
    "README.md": b"# a card",
    "modeling_tiny.py": b"raise SystemExit",
    "pytorch_model.bin": b"a pickle",
    "tf_model.h5": b"tensorflow",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    "openvino/openvino_model.bin": b"openvino",
    "training_args.bin": b"a pickle",
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """What the repository on the Hub holds."""
    folder = tmp_path / "published"
    for name, content in (NEEDED | NOT_NEEDED).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


class Fetch:
    """`download` into one folder, with the progress that was reported."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.base = self.folder = folder
        self.endpoint = endpoint
        self.progress: list[tuple[int, int]] = []

    def __call__(self, wanted: ModelSpec = WANTED, *, token: str = "") -> str:
        settings = load_settings({"HF_ENDPOINT": self.endpoint, "HF_TOKEN": token, "RERANKER_MODELS_DIR": "/data"})
        snapshot = download(wanted, self.base, settings, lambda *numbers: self.progress.append(numbers))
        self.folder = snapshot.folder
        return snapshot.revision


@pytest.fixture
def fetch(tmp_path: Path, hub: HubServer) -> Fetch:
    return Fetch(tmp_path / "download", hub.endpoint)


@pytest.fixture
def commit(hub: HubServer, published: Path) -> str:
    """The repository's first one, which anybody may read."""
    return hub.add(WANTED.repo, published)


def test_only_what_is_needed_is_fetched(hub: HubServer, commit: str, fetch: Fetch) -> None:
    assert fetch() == commit
    assert sorted(hub.downloads) == sorted(NEEDED)
    for name, content in NEEDED.items():
        assert (fetch.folder / name).read_bytes() == content
    assert not [name for name in NOT_NEEDED if (fetch.folder / name).exists()]


def test_an_adapter_in_a_folder(
    hub: HubServer, published: Path, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = {f"ranking/{name}" for name in ("adapter_config.json", "adapter_model.safetensors")}
    for name in adapter:
        (published / name).parent.mkdir(exist_ok=True)
        (published / name).write_bytes(b"{}")
    hub.add(WANTED.repo, published)
    fetch(WANTED.model_copy(update={"from_repository": True}))
    assert sorted(hub.downloads) == sorted([*NEEDED, "README.md"])
    assert f"To import one, give its full name: {WANTED.repo}/ranking" in caplog.text
    fetch(WANTED.model_copy(update={"repo": f"{WANTED.repo}/ranking"}))
    assert adapter <= set(hub.downloads)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ),
        (["model.safetensors.index.json", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"], ["2_Dense/model.safetensors"]),
        (["2_Dense/pytorch_model.bin"], ["2_Dense/pytorch_model.bin"]),
        (["onnx/model.safetensors", "model.fp16.safetensors", "lora/adapter_model.safetensors"], []),
        (["config.json", "adapter_config.json", "adapter_model.safetensors"], ["config.json"]),
        (["adapter_config.json", "adapter_model.safetensors"], ["adapter_config.json", "adapter_model.safetensors"]),
    ],
)
def test_safetensors_come_before_pickle(names: list[str], weights: list[str]) -> None:
    assert needed_files(names) == weights


def test_the_pinned_commit_is_fetched_and_not_the_newest(
    hub: HubServer, commit: str, fetch: Fetch, tmp_path: Path
) -> None:
    newest = hub.add(WANTED.repo, write_files(tmp_path / "newer", config_json="[]"))
    assert fetch(spec(revision=commit)) == commit
    assert (fetch.folder / "config.json").read_bytes() == NEEDED["config.json"]
    assert Fetch(fetch.folder.with_name("other"), hub.endpoint)() == newest


def test_the_token_is_sent_to_the_hub_and_to_nobody_else(hub: HubServer, published: Path, fetch: Fetch) -> None:
    hub.add(WANTED.repo, published, token="hf_mine")
    fetch(token="hf_mine")
    sent = {(request.host, request.headers.get("authorization")) for request in hub.requests}
    assert sent == {("hub", "Bearer hf_mine"), ("cdn", None)}


def test_progress_goes_to_the_end(hub: HubServer, commit: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_REPORT_S", 0.02)
    hub.slow("model.safetensors", bytes_per_second=len(WEIGHTS) * 2)
    fetch()
    total = sum(map(len, NEEDED.values()))
    done = [number for number, _ in fetch.progress]
    assert {whole for _, whole in fetch.progress} == {total}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)
    assert [number for number in done if 0 < number < total]


def ranges(hub: HubServer, since: int = 0) -> list[int]:
    """First byte of every partial request, where the bytes come from: the Hub itself only redirects."""
    requests = [request for request in hub.requests[since:] if request.host == "cdn"]
    asked = [request.headers["range"] for request in requests if "range" in request.headers]
    return [int(value.removeprefix("bytes=").rstrip("-")) for value in asked]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub does not wait between its tries."""
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_a_connection_that_is_cut_goes_on_where_it_was(
    hub: HubServer, commit: str, fetch: Fetch, impatient: None
) -> None:
    hub.cut_next("model.safetensors", after_bytes=100_000, times=2)
    fetch()
    assert (fetch.folder / "model.safetensors").read_bytes() == WEIGHTS
    first, second = ranges(hub)
    assert 0 < first < second < len(WEIGHTS)


def test_the_next_try_fetches_what_is_missing_and_needs_space_for_nothing_else(
    hub: HubServer, commit: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    hub.cut_next("model.safetensors", after_bytes=100_000)
    hub.cut_next("model.safetensors", after_bytes=0, times=100)  # until the client itself gives up
    with pytest.raises(ModelUnavailableError, match="failed"):
        fetch()
    hub._faults.clear()
    hub.downloads.clear()
    before = len(hub.requests)
    monkeypatch.setattr(disk, "free_bytes", lambda _: len(WEIGHTS) - 1000)
    fetch()
    assert hub.downloads == ["model.safetensors"]
    assert (fetch.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ranges(hub, before)


def test_a_damaged_file_is_noticed_and_removed(published: Path, commit: str, fetch: Fetch) -> None:
    (published / "model.safetensors").write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(ModelUnavailableError, match=r"the download of model\.safetensors is damaged"):
        fetch()
    assert not list(fetch.base.rglob("model.safetensors"))


UNSAFE = [
    "../model.safetensors",
    "model-/../../../escaped-of-.safetensors",
    "model-1/of/2-of-2.safetensors",
    "model-..\\..\\x-of-1.safetensors",
    "model-\x00-of-1.safetensors",
    "model-\n-of-1.safetensors",
    "0_../../config.json",
    "0_x/../../config.json",
    "0_x/../config.json",
    "/config.json",
    "/etc/config.json",
    "./config.json",
    "0_Pooling//config.json",
    "..",
    "",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_leads_elsewhere_is_not_needed(name: str) -> None:
    assert needed_files([name, "config.json"]) == ["config.json"]


def test_a_mirror_cannot_write_outside_the_download_folder(
    hub: HubServer, commit: str, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lists names as it likes, and serves a file for each of them."""
    files = hub._repos[WANTED.repo].commits[commit]
    files |= dict.fromkeys(UNSAFE, files["model.safetensors"])
    before = {path for path in tmp_path.rglob("*") if fetch.base not in (path, *path.parents)}
    fetch()
    assert {path for path in tmp_path.rglob("*") if fetch.base not in (path, *path.parents)} == before
    assert sorted(str(path.relative_to(fetch.folder)) for path in fetch.folder.rglob("*") if path.is_file()) == sorted(
        NEEDED
    )


@pytest.mark.parametrize("name", ["../../../../x", "", "main", "A" * 40, "a" * 39])
def test_a_mirror_cannot_choose_the_folder_by_its_commit(hub: HubServer, commit: str, fetch: Fetch, name: str) -> None:
    repo = hub._repos[WANTED.repo]
    repo.commits[name], repo.refs["main"] = repo.commits[commit], name
    with pytest.raises(ModelUnavailableError, match=r"is not a valid Hub: .* Check HF_ENDPOINT\."):
        fetch()
    assert not fetch.base.exists()


def test_a_mirror_must_have_the_pinned_commit(hub: HubServer, commit: str, fetch: Fetch) -> None:
    asked = "b" * 40
    hub._repos[WANTED.repo].refs[asked] = next(iter(hub._repos[WANTED.repo].commits))
    with pytest.raises(ModelUnavailableError, match="missing or not the requested one"):
        fetch(spec(revision=asked))


def test_a_download_that_does_not_fit_is_not_begun(
    hub: HubServer, commit: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 100_000)
    with pytest.raises(ModelUnavailableError) as raised:
        fetch()
    assert re.fullmatch(
        rf"Not enough disk space for the download of {WANTED.repo}: it needs about 0\.3 MB in {fetch.base}/"
        r"[0-9a-f]{12}, which has 0\.1 MB free\. Free some space, or set BENTOML_HOME to a folder on a larger disk\.",
        raised.value.message,
    )
    assert hub.downloads == []


def test_a_disk_that_fills_up_meanwhile(commit: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not finished is removed; files that are whole stay for the next try."""

    def get(url: str, file: IO[bytes], **options: Any) -> None:
        if not url.endswith("model.safetensors"):
            http_get(url, file, **options)
            return
        file.write(WEIGHTS[:100_000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", get)
    with pytest.raises(
        ModelUnavailableError, match=r"^Not enough disk space for the download of .*: it needs about 0\.3 MB in "
    ):
        fetch()
    left = {path.name for path in fetch.base.rglob("*") if path.is_file()}
    assert left == {"config.json", "tokenizer.json"}


def test_a_folder_that_cannot_be_written_is_not_blamed_on_the_network(
    commit: str, fetch: Fetch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    fetch.base = tmp_path / "file" / "download"
    with pytest.raises(
        ModelUnavailableError, match=r"could not be written to .* \(Not a directory\)\. Set BENTOML_HOME"
    ):
        fetch()


def test_a_part_that_is_longer_than_the_file_is_fetched_anew(commit: str, fetch: Fetch) -> None:
    part = fetch.base / commit[:12] / "model.safetensors.partial"
    part.parent.mkdir(parents=True)
    part.write_bytes(WEIGHTS + b"more")
    fetch()
    assert (fetch.folder / "model.safetensors").read_bytes() == WEIGHTS


MISSING = "the repository does not exist, or it is private and HF_TOKEN does not give access to it"
GATED = "is gated. Accept its terms on the Hub, and set HF_TOKEN"


@pytest.mark.parametrize("token", ["", "hf_wrong"])
@pytest.mark.parametrize(
    ("access", "reason"),
    [(None, MISSING), ({"token": "hf_right"}, MISSING), ({"token": "hf_right", "gated": True}, GATED)],
    ids=["missing", "private", "gated"],
)
def test_a_repository_without_access(
    hub: HubServer, published: Path, fetch: Fetch, token: str, access: dict[str, Any] | None, reason: str
) -> None:
    if access is not None:
        hub.add(WANTED.repo, published, **access)
    with pytest.raises(ModelUnavailableError, match=reason) as raised:
        fetch(token=token)
    assert f"{WANTED.repo} from {fetch.endpoint}" in raised.value.message
    assert "hf_wrong" not in raised.value.message


@pytest.mark.parametrize(
    ("wanted", "failing", "status", "reason"),
    [
        (spec(revision="0" * 40), None, 0, "failed with status 404"),
        (WANTED, WANTED.repo, 500, "failed with status 500. Try again"),
        (WANTED, "tokenizer.json", 403, "failed"),
    ],
    ids=["no such commit", "a failing Hub", "a failing file"],
)
def test_a_hub_that_fails(
    hub: HubServer,
    commit: str,
    fetch: Fetch,
    impatient: None,
    wanted: ModelSpec,
    failing: str | None,
    status: int,
    reason: str,
) -> None:
    if failing is not None:
        hub.fail_next(failing, status, times=100)
    with pytest.raises(ModelUnavailableError, match=reason):
        fetch(wanted)


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    reason = r"failed \(\w+\)\. Check the network, HF_ENDPOINT and the proxy variables, .* into /data"
    with pytest.raises(ModelUnavailableError, match=reason):
        Fetch(tmp_path, DEAD_ENDPOINT)()
