"""./embeddings verify: its table and exit status. No model is loaded here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import models
from errors import ModelUnavailableError, UnsupportedModelError
from importing import recheck
from importing.verify import Comparison
from models.catalog import Catalog
from models.facts import Verification
from models.goldens import Golden
from models.integrity import write_manifest
from models.store import ModelStore, StoredModel
from runners.backends.openvino import export_folder, write_report
from tests.command_line import run
from tests.unit.fakes import facts, spec

GOOD, BAD, BROKEN, UNMEASURED, ABSENT = "good", "bad", "broken", "unmeasured", "absent"
GOLDEN = Golden(
    model=GOOD, what="rerank_logits", pairs=(("q", "d"),), expected=(1.0,), tolerance=0.02, source="the model card"
)
DIFFERENCES = {GOOD: 0.0123, BAD: 0.5}
NOT_COMPARED = "not compared with sentence-transformers: it was imported by an earlier version"
HEADER = ["model", "compared", "difference", "tolerance", "verdict"]


class FakeStore(ModelStore):
    """Has every model but one."""

    def find(self, wanted: Any) -> StoredModel | None:
        return None if wanted.name == ABSENT else StoredModel(f"{wanted.name}:1", Path("/nowhere"), facts())


class FakeModel:
    """A loaded model whose engine is its name."""

    def __init__(self, name: str) -> None:
        self.engine = SimpleNamespace(name=name)
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[FakeModel]:
    """The loaded models; four models are stored and one is not."""
    found: list[FakeModel] = []

    def load_model(wanted: Any, *_: Any, measure: bool) -> FakeModel:
        assert not measure, "nothing is served"
        if wanted.name == BROKEN:
            raise ModelUnavailableError("acme/broken is refused: 2 tensors are missing.")
        found.append(FakeModel(wanted.name))
        return found[-1]

    def compare(golden: Golden, engine: Any) -> Comparison:
        return Comparison(golden, DIFFERENCES[engine.name])

    names = (GOOD, BAD, BROKEN, UNMEASURED, ABSENT)
    catalog = Catalog([spec(name=name, repo=f"acme/{name}", kind="reranker") for name in names])
    monkeypatch.setattr(models, "open_catalog", lambda *_, **__: catalog)
    monkeypatch.setattr(models, "ModelStore", FakeStore)
    monkeypatch.setattr(recheck, "goldens_of", lambda name: [] if name == UNMEASURED else [GOLDEN])
    monkeypatch.setattr(recheck, "load_model", load_model)
    monkeypatch.setattr(recheck, "compare", compare)
    return found


def rows(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The table, with its verdict as one cell; without the comparisons that these imports do not allow."""
    captured = capsys.readouterr()
    assert captured.err == ""
    header, *lines = [line.split(maxsplit=4) for line in captured.out.splitlines()]
    assert header == HEADER
    return [line for line in lines if not line[-1].startswith(NOT_COMPARED)]


def test_without_names_every_stored_model_is_verified(
    loaded: list[FakeModel], capsys: pytest.CaptureFixture[str]
) -> None:
    """Models that fail do not keep the others from being verified."""
    assert run("verify") == 1
    assert rows(capsys) == [
        [GOOD, "rerank_logits", "0.012", "0.02", "pass"],
        [BAD, "rerank_logits", "0.5", "0.02", "FAIL  expected as the model card"],
        [BROKEN, "-", "-", "-", "FAIL  acme/broken is refused: 2 tensors are missing."],
        [UNMEASURED, "-", "-", "-", "there are no published numbers"],
    ]
    assert [(model.engine.name, model.closed) for model in loaded] == [(GOOD, True), (BAD, True)]


def test_models_are_verified_by_any_of_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "acme/GOOD", UNMEASURED) == 0
    assert [row[0] for row in rows(capsys)] == [GOOD, UNMEASURED]


def test_a_named_model_that_is_not_stored_fails(loaded: list[FakeModel], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", GOOD, ABSENT) == 1
    captured = capsys.readouterr()
    assert captured.err == "Not in the model store: absent. List the stored models with ./embeddings list --stored.\n"
    assert captured.out == ""
    assert loaded == []


def test_damaged_files_fail_with_the_repair_command(
    loaded: list[FakeModel], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_text("not what was imported")
    stored = StoredModel("good:1", tmp_path, facts(sha256={"model.safetensors": "00", "config.json": "00"}))
    monkeypatch.setattr(FakeStore, "find", lambda *_: stored)
    assert run("verify", GOOD) == 1
    ((name, what, _, _, verdict),) = rows(capsys)
    assert (name, what) == (GOOD, "files")
    assert verdict.startswith(f"FAIL  model.safetensors, config.json in {tmp_path} are damaged or missing.")
    assert verdict.endswith("Run: ./embeddings import good")
    assert loaded == []


def test_a_damaged_conversion_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = export_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "body.bin").write_bytes(b"what was converted")
    write_manifest(folder)
    (folder / "body.bin").write_bytes(b"what is there     ")
    monkeypatch.setattr(FakeStore, "find", lambda *_: StoredModel("good:1", tmp_path, facts()))
    monkeypatch.setenv("DEVICE", "cpu")
    assert run("verify", GOOD) == 1
    assert "openvino" in rows(capsys)[0][-1]
    monkeypatch.setenv("BACKEND", "torch")
    assert run("verify", GOOD) == 0


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ({"f32": None, "bf16": None, "cost": "lowest cosine 0.9963"}, "lowest cosine 0.9963"),
        ({"f32": "it has no weights that int8 applies to"}, "refused: it has no weights that int8 applies to"),
    ],
)
def test_the_accuracy_of_int8_is_shown(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    report: dict[str, str | None],
    shown: str,
) -> None:
    folder = export_folder(tmp_path, "int8")
    folder.mkdir(parents=True)
    write_report(folder, report)
    write_manifest(folder)
    monkeypatch.setattr(FakeStore, "find", lambda *_: StoredModel("good:1", tmp_path, facts()))
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setenv("DTYPE", "int8")
    run("verify", GOOD)
    assert rows(capsys)[0] == [GOOD, "int8", "-", "-", shown]


@pytest.mark.parametrize("names", [["goood"], [GOOD, "no/such"]])
def test_an_unknown_name_exits_with_2(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", *names) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{names[-1]}: There is no model of that name.")
    assert captured.out == ""


def test_invalid_settings_exit_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DTYPE", "int4")
    assert run("verify", GOOD) == 2
    assert "DTYPE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "row", "status"),
    [
        (
            Verification(by="reference 1", at="", texts=33, largest_difference=2e-5),
            ["2e-05", "0.001", "pass  reference 1, 33 texts"],
            0,
        ),
        (
            Verification(by="", at="", problem="it is large"),
            ["-", "-", "not compared with sentence-transformers: it is large"],
            0,
        ),
        (UnsupportedModelError("scores differ"), ["-", "-", "FAIL  scores differ"], 1),
    ],
)
def test_the_comparison_of_the_import_is_repeated(
    found: Verification | ModelUnavailableError,
    row: list[str],
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def repeat(*_: Any) -> Verification:
        if isinstance(found, ModelUnavailableError):
            raise found
        return found

    monkeypatch.setattr(recheck, "unverifiable", lambda *_: None)
    monkeypatch.setattr(recheck, "verify", repeat)
    assert run("verify", UNMEASURED) == status
    assert rows(capsys)[0] == [UNMEASURED, "scores", *row]
