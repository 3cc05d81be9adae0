"""Compiled graphs are kept beside the export, and never change a result."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from importing.openvino_export import export
from models import integrity
from models.integrity import is_whole
from runners.backends import compiled_cache
from runners.backends.batches import PaddedBatch
from runners.backends.openvino import Graphs, export_folder
from runners.contracts import Rows, TokenSequence
from tests.integration.architectures.workshop import Workshop
from tests.variant import THREADS

TEXTS = [TokenSequence(list(range(10, 10 + length)), [0] * length) for length in (3, 40, 17)]


@pytest.fixture
def exported(workshop: Workshop, tmp_path: Path) -> Path:
    """The folder of an export of which nothing was compiled."""
    model = workshop.model("multilingual-e5-small")
    folder = shutil.copytree(model.stored.folder, tmp_path / "model", ignore=shutil.ignore_patterns("openvino"))
    export(folder, model.spec, model.stored.facts)
    return export_folder(folder)


def rows(folder: Path, *, keep: bool = True) -> Rows:
    return Graphs(folder, precision="f32", threads=THREADS, keep=keep).infer(PaddedBatch.of(TEXTS, 1))


def kept(exported: Path) -> list[Path]:
    return sorted(exported.parent.glob(f"{exported.name}-compiled-*"))


def test_a_graph_is_compiled_once(exported: Path) -> None:
    expected = rows(exported, keep=False)
    assert not kept(exported)
    np.testing.assert_array_equal(rows(exported), expected)
    (folder,) = kept(exported)
    (blob,) = folder.glob("*.blob")
    compiled = blob.stat()
    np.testing.assert_array_equal(rows(exported), expected)
    assert kept(exported) == [folder]
    assert list(folder.glob("*.blob")) == [blob]
    assert blob.stat().st_mtime_ns == compiled.st_mtime_ns


def test_a_damaged_graph_is_compiled_again(exported: Path) -> None:
    expected = rows(exported)
    (folder,) = kept(exported)
    (blob,) = folder.glob("*.blob")
    blob.chmod(0o600)
    blob.write_bytes(bytes(blob.stat().st_size))  # as after a power failure
    assert not is_whole(folder)
    np.testing.assert_array_equal(rows(exported), expected)
    assert kept(exported) == [folder]
    assert is_whole(folder, thorough=True)
    assert len(list(folder.iterdir())) == 2  # the graph and its manifest: the damaged one is gone


def test_a_graph_of_another_processor_or_export_is_not_used(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(exported)
    monkeypatch.setattr(compiled_cache, "processor", lambda: "another one")
    rows(exported)
    os.utime(exported / "body.xml", ns=(0, 0))  # exported again
    rows(exported)
    assert len(kept(exported)) == 3


def test_a_model_is_served_where_nothing_can_be_kept(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rows(exported, keep=False)

    def full(_folder: Path) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(integrity, "write_manifest", full)
        np.testing.assert_array_equal(rows(exported), expected)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the store is read-only
    np.testing.assert_array_equal(rows(exported), expected)
    assert not kept(exported)
    assert [path.name for path in exported.parent.iterdir() if path.is_dir()] == [exported.name]
