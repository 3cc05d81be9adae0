"""The commands of the model store: exit statuses, and output as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli import models
from errors import ModelUnavailableError
from models.catalog import ModelSpec, load_catalog
from models.store import ModelStore, StoredModel
from runners.devices import DeviceError
from tests.command_line import run
from tests.unit.fakes import facts


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    made = ModelStore(tmp_path)
    monkeypatch.setattr(models, "ModelStore", lambda: made)
    return made


class FakeImport:
    """Replaces `import_model`: reports half the bytes and stores an empty model, or fails."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.from_dirs: list[Path | None] = []
        self.revision: str | None = "a" * 40

    def __call__(self, spec: ModelSpec, *, store: ModelStore, progress: Any, from_dir: Any, **_: Any) -> StoredModel:
        self.from_dirs.append(from_dir)
        progress(50, 100)
        if spec.name in self.failures:
            raise ModelUnavailableError(self.failures[spec.name])
        return store.register(store.staging(spec), facts(repo=spec.repo, revision=self.revision or spec.revision), {})


@pytest.fixture
def importing(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> FakeImport:
    fake = FakeImport()
    monkeypatch.setattr(models, "import_model", fake)
    monkeypatch.setenv("BACKEND", "torch")  # nothing to convert
    return fake


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_models_are_imported_one_after_the_other(
    store: ModelStore, importing: FakeImport, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", "bge-m3", "intfloat/E5-base") == 0
    assert importing.from_dirs == [None, None]
    output = capsys.readouterr().out.splitlines()
    assert output == [
        f"BAAI/bge-m3  ->  baai--bge-m3:{'a' * 12}  (0 MB F32)",
        f"intfloat/e5-base  ->  intfloat--e5-base:{'a' * 12}  (0 MB F32)",
    ]
    assert [stored.facts.repo for stored in store.list()] == ["BAAI/bge-m3", "intfloat/e5-base"]


def test_one_failure_does_not_stop_the_others(importing: FakeImport, capsys: pytest.CaptureFixture[str]) -> None:
    importing.failures["e5-base"] = "The Hub is down."
    assert run("import", "e5-base", "bge-m3") == 1
    captured = capsys.readouterr()
    assert "The Hub is down." in captured.err
    assert captured.out.startswith("BAAI/bge-m3  ->  ")
    assert run("import", "--json", "e5-base", "bge-m3") == 1
    assert lines(capsys) == [
        {"progress": 0.5},
        {"error": "The Hub is down."},
        {"progress": 0.5},
        {"stored": f"baai--bge-m3:{'a' * 12}"},
    ]


def test_a_device_without_the_data_type_is_reported(
    importing: FakeImport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **_options: object) -> None:
        raise DeviceError("DTYPE=int8 needs a CPU.")

    monkeypatch.setattr(models, "import_model", refuse)
    assert run("import", "bge-m3") == 1
    message, advice = capsys.readouterr().err.splitlines()
    assert message == "DTYPE=int8 needs a CPU."
    assert advice.startswith("./embeddings doctor ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "bge-m33"], "Did you mean bge-m3"),
        (["import", "e5-base", "bge-m33"], "bge-m33: There is no model of that name. Did you mean bge-m3"),
        (["import", "bge-m33"], "./embeddings list shows every model"),
        (["import"], "Name the models to import"),
        (["remove", "bge-m33"], "Did you mean bge-m3"),
        (["verify", "bge-m33"], "Did you mean bge-m3"),
        (["import", "--from-dir", "/data", "bge-m3", "e5-base"], "--from-dir takes exactly one model"),
    ],
)
def test_an_invalid_command_exits_with_2(
    importing: FakeImport, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert run(*arguments, "--json") == 2
    (line,) = lines(capsys)
    assert message in line["error"]
    assert importing.from_dirs == []


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "http", "PORT: "),
        ("EXTRA_CATALOG", "/nowhere/mine.yaml", "/nowhere/mine.yaml: "),
        ("PRELOAD_MODELS", "bge-m33", "bge-m33: There is no model of that name. Did you mean bge-m3"),
    ],
)
def test_invalid_settings_exit_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert run("import", "--preload") == 2
    assert capsys.readouterr().err.startswith(message)


def test_the_list_has_stored_and_importable_models(importing: FakeImport, capsys: pytest.CaptureFixture[str]) -> None:
    run("import", "e5-large")
    importing.revision = None
    run("import", "e5-base")
    capsys.readouterr()
    assert run("list") == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert re.search(r"stored as intfloat--e5-base:[0-9a-f]{12}$", listed["e5-base"])
    assert re.search(
        r"stored as intfloat--e5-large:a{12}, but it is revision a{12}, but the catalogue has [0-9a-f]{12}$",
        listed["e5-large"],
    )
    assert listed["bge-m3"].endswith("MB to download")
    assert run("list", "--json") == 0
    flaws = {line["name"] for line in lines(capsys) if line["flaw"]}
    assert flaws == {"e5-large"}


@pytest.mark.parametrize("command", [["list", "--stored"], ["verify"]])
def test_an_empty_store_says_how_to_import_a_model(
    store: ModelStore, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert run(*command) == 0
    captured = capsys.readouterr()
    assert "./embeddings import all-minilm-l6-v2" in captured.err
    assert captured.out == ""


def test_remove_prints_the_number_of_versions(
    store: ModelStore, importing: FakeImport, capsys: pytest.CaptureFixture[str]
) -> None:
    run("import", "e5-base")
    capsys.readouterr()
    assert run("remove", "e5-base", "bge-m3") == 0
    assert capsys.readouterr().out == "intfloat/e5-base: 1 version removed\nBAAI/bge-m3: 0 versions removed\n"
    assert store.list() == []


def test_a_folder_is_imported(importing: FakeImport) -> None:
    assert run("import", "bge-m3", "--from-dir", "/data/bge") == 0
    assert importing.from_dirs == [Path("/data/bge")]


def test_all_imports_every_model_with_weights(store: ModelStore, importing: FakeImport) -> None:
    assert run("import", "--all") == 0
    repos = {spec.repo for spec in load_catalog() if not spec.forwarded}
    assert {stored.facts.repo for stored in store.list()} == repos


def test_preload_imports_the_models_of_preload_models(
    store: ModelStore, importing: FakeImport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the init container of deploy/kubernetes runs; a provider's model needs no import."""
    monkeypatch.setenv("PRELOAD_MODELS", "bge-m3, cohere-rerank-multilingual,e5-base")
    assert run("import", "--preload") == 0
    assert [stored.facts.repo for stored in store.list()] == ["BAAI/bge-m3", "intfloat/e5-base"]
    assert "Cohere/rerank-multilingual-v3.0 is forwarded" in capsys.readouterr().out


@pytest.mark.parametrize("models", ["", "cohere-rerank-multilingual"])
def test_preload_may_be_empty(
    store: ModelStore, importing: FakeImport, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    monkeypatch.setenv("PRELOAD_MODELS", models)
    assert run("import", "--preload") == 0
    assert store.list() == []


def test_an_unwritable_home_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "file" / "home"))
    assert run("import", "bge-m3") == 2
    message, advice = capsys.readouterr().err.splitlines()
    assert message.startswith("BENTOML_HOME: ")
    assert advice.startswith("./embeddings doctor ")
