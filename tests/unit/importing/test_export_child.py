"""A conversion that ends its process is no failed import: the report says why, and torch serves the model."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from importing import export_child
from importing.export_child import LIMIT_S, ExportJob, export_in_child
from models.integrity import write_manifest
from models.store import StoredModel
from runners.backends.openvino import REPORT, Report, export_folder, find_export, write_report
from runners.devices import Device
from runners.loading import needs_export
from settings import Settings
from tests.unit.fakes import facts, spec

EXACT = Device("cpu", "cpu", "float32", 1, requested_dtype="float32")
AUTO = Device("cpu", "cpu", "float32", 1)


@pytest.fixture
def stored(tmp_path: Path) -> StoredModel:
    return StoredModel("acme:1", tmp_path, facts())


def end(stored: StoredModel, code: str, limit_s: float = LIMIT_S) -> Report | None:
    """Convert with a process that runs this code; return the report."""
    command = [sys.executable, "-c", f"import os, signal, sys; {code}"]
    export_in_child(spec(), stored, AUTO, command=command, limit_s=limit_s)
    found = find_export(stored.folder)
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "the conversion ended by signal 9 (out of memory?)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the conversion ended by signal 11"),
        ("sys.exit(1)", "the conversion ended with status 1"),
    ],
)
def test_a_conversion_that_dies_is_not_tried_again(
    stored: StoredModel, caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    assert needs_export(stored, AUTO, Settings())
    assert end(stored, code) == {"f32": reason}
    assert not needs_export(stored, AUTO, Settings())
    assert needs_export(stored, EXACT, Settings())  # the export for DTYPE=float32 is another one
    (record,) = caplog.records
    assert record.message.startswith(f"tiny is served by torch: {reason}. To try again, run ./embeddings remove tiny")


def test_a_conversion_that_hangs_is_killed(stored: StoredModel) -> None:
    assert end(stored, "signal.pause()", limit_s=0.1) == {"f32": "the conversion did not finish within 0.1 s"}
    assert not needs_export(stored, AUTO, Settings())


def test_what_cannot_be_written_is_tried_again(stored: StoredModel) -> None:
    assert end(stored, f"sys.exit({os.EX_IOERR})") is None
    assert needs_export(stored, AUTO, Settings())


def test_the_child_ends_where_nobody_waits_for_it(stored: StoredModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent was killed before it began."""
    job = ExportJob(parent=1, folder=stored.folder, spec=spec(), facts=stored.facts, device=AUTO, torch=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(job.model_dump_json()))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(prctl=lambda *_: 0))  # this process lives on
    assert export_child.main() == os.EX_IOERR
    assert not list(stored.folder.iterdir())


def test_a_finished_conversion_stays_if_the_process_dies_later(
    stored: StoredModel, caplog: pytest.LogCaptureFixture
) -> None:
    """While it measures the speed; or it was another process that converted the model."""
    target = export_folder(stored.folder)
    target.mkdir(parents=True)
    write_report(target, {"f32": None})
    assert end(stored, "os.kill(os.getpid(), signal.SIGKILL)") == {"f32": None}
    (record,) = caplog.records
    assert record.message == "the speed of tiny was not measured: the conversion ended by signal 9 (out of memory?)"


def test_what_a_killed_conversion_leaves_is_removed(stored: StoredModel) -> None:
    target = export_folder(stored.folder)
    target.mkdir(parents=True)
    (target / "body.bin").write_bytes(b"damaged later")
    write_report(target, {"f32": None})
    write_manifest(target)
    (target / "body.bin").write_bytes(b"damaged")
    assert end(stored, "sys.exit(1)") == {"f32": "the conversion ended with status 1"}
    assert [path.name for path in target.iterdir()] == [REPORT]
