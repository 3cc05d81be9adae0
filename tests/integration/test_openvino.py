"""The OpenVINO engine: which architectures convert, that they compute what torch computes, and when torch serves."""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from errors import ModelUnavailableError
from models.integrity import is_whole
from models.store import StoredModel
from runners.backends import Backend, Rows, Sequences, gate, openvino_export
from runners.backends.openvino import REPORT, Graphs, OpenVINOBackend, Report, export_folder, read_report
from runners.backends.openvino_export import export
from runners.backends.torch import TorchBackend
from runners.devices import Device
from runners.loading import load_backend, needs_export
from runners.tokenization import Sequence
from scripts import import_models
from settings import Settings
from tests.integration.architectures.workshop import Model, Workshop
from tests.tolerance import scaled
from tests.variant import THREADS

DEVICE = Device("cpu", "cpu", "float32", threads=THREADS, asked_dtype="float32")
AUTO, TORCH, OPENVINO = (Settings(backend=name) for name in ("auto", "torch", "openvino"))
EMBEDDERS = [
    "multilingual-e5-small",  # BERT
    "ruri-v3-30m",  # ModernBERT, sliding window
    "all-mpnet-base-v2",
    "luke-japanese-base",
    "qwen3-embedding-0.6b",
    "embeddinggemma-300m",  # sliding window both ways, Dense layers as head
    "e5-mistral-7b",  # sliding window, causal
    "nv-embed-v2",
]
RERANKERS = [
    "bge-reranker-v2-m3",  # XLM-RoBERTa
    "japanese-reranker-tiny-v2",  # ModernBERT
    "mxbai-rerank-large",  # DeBERTa
    "gte-multilingual-reranker",
    "jina-reranker-v2-multilingual",
    "jina-reranker-turbo",  # ALiBi
    "qwen3-reranker-0.6b",
]
OWN_ATTENTION = {"all-mpnet-base-v2", "luke-japanese-base", "nv-embed-v2", "mxbai-rerank-large", "jina-reranker-turbo"}
"""Their attention reads more than who sees whom: they are computed with all of their padding."""
PLAIN = EMBEDDERS[0]
LONG = 1500
"""Beyond the longest probe of the gate: errors of positions grow with the position."""

Exported = Callable[[str], tuple[Model, Report]]


@pytest.fixture(scope="module", autouse=True)
def frozen_libraries() -> Iterator[None]:
    """Closing a model collects garbage: without torch and transformers to walk through, that is ten times faster."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A tiny model after its real import and its conversion, once a session, and the report of the gate."""
    workshop = Workshop(tmp_path_factory.mktemp("openvino"))

    def get(name: str) -> tuple[Model, Report]:
        model = workshop.model(name)
        return model, export(model.stored.folder, model.spec, model.stored.facts)

    return get


@pytest.fixture
def fresh(exported: Exported, tmp_path: Path) -> Model:
    """A stored model that was not converted yet."""
    model, _ = exported(PLAIN)
    folder = shutil.copytree(model.stored.folder, tmp_path / "fresh", ignore=shutil.ignore_patterns("openvino"))
    return replace(model, stored=replace(model.stored, folder=folder))


def load(model: Model, settings: Settings = AUTO) -> Backend:
    return load_backend(model.spec, model.stored, DEVICE, settings)


def batch_of(stored: StoredModel, *lengths: int) -> Sequences:
    """Random ids of these lengths."""
    facts, random = stored.facts, np.random.default_rng(sum(lengths))
    return [
        Sequence(ids, [0] * len(ids) if facts.token_type_ids else None)
        for ids in (random.integers(10, facts.vocabulary, size=length).tolist() for length in lengths)
    ]


def batches(stored: StoredModel) -> list[Sequences]:
    """From three tokens to the limit, alone and with neighbours of other lengths."""
    limit = min(stored.facts.max_tokens, LONG)
    lengths = sorted({min(length, limit) for length in (3, 17, 70, 513, limit)})
    mixed = [batch_of(stored, *lengths[:-1]), batch_of(stored, limit, 3)]
    return [batch_of(stored, length) for length in lengths] + mixed


def assert_same(found: Rows, expected: Rows) -> None:
    """Vectors by their cosine; single logits by their difference, which the scale of the weights multiplies."""
    assert np.isfinite(found).all()
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    if expected.shape[1] == 1:
        assert np.abs(found - expected).max() <= 0.01 * max(1.0, float(expected.std()))
        return
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.9999


@pytest.mark.parametrize("name", EMBEDDERS + RERANKERS)
def test_numbers_are_torchs_at_every_length_padded_or_not(exported: Exported, name: str) -> None:
    model, report = exported(name)
    assert report["f32"] is None, report
    found, expected = load(model), load(model, TORCH)
    assert (found.name, expected.name) == ("openvino f32 on cpu", "torch float32 on cpu")
    assert (found.padding_cost < 1) == (name not in OWN_ATTENTION)
    for batch in batches(model.stored):
        assert_same(found.forward(batch), expected.forward(batch))
    exact = batch_of(model.stored, 17, 3)
    assert_same(found.forward_exact(exact), expected.forward_exact(exact))
    found.close()
    expected.close()


def test_what_differs_without_padding_is_converted_with_it(
    fresh: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An architecture whose attention is called in its own way may pass through and compute something else."""
    forward = openvino_export.UnpaddedBody.forward

    def wrong(self: openvino_export.UnpaddedBody, *inputs: torch.Tensor) -> torch.Tensor:
        return forward(self, *inputs).flip(1)

    with monkeypatch.context() as patch:
        patch.setattr(openvino_export.UnpaddedBody, "forward", wrong)
        report = export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    assert report["f32"] is None
    assert "is converted with its padding: without, smallest cosine" in caplog.text
    found = load(fresh)
    assert found.padding_cost == 1
    assert_same(found.forward(batch_of(fresh.stored, 3, 70)), load(fresh, TORCH).forward(batch_of(fresh.stored, 3, 70)))


def test_several_threads_get_their_own_rows(exported: Exported) -> None:
    model, _ = exported(PLAIN)
    backend = load(model)
    inputs = [batch_of(model.stored, *[1 + number % 60, 5, 40][: 1 + number % 3]) for number in range(120)]
    alone = [backend.forward(batch) for batch in inputs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(backend.forward, inputs * 2))
    for found, expected in zip(together, alone * 2, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=scaled(expected))
    backend.close()


def test_rows_stay_after_the_next_call(exported: Exported) -> None:
    model, _ = exported(PLAIN)
    backend = load(model)
    rows = backend.forward(batch_of(model.stored, 7))
    kept = rows.copy()
    backend.forward(batch_of(model.stored, 9))
    np.testing.assert_array_equal(rows, kept)


def test_torch_serves_what_was_not_converted(fresh: Model) -> None:
    assert needs_export(fresh.stored, DEVICE, AUTO)
    assert isinstance(load(fresh), TorchBackend)
    with pytest.raises(ModelUnavailableError, match=r"BACKEND=openvino .*it was not exported; run scripts/import"):
        load(fresh, OPENVINO)


def test_where_torch_is_asked_for_openvino_is_not_touched(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = exported(PLAIN)
    for module in ("openvino", "runners.backends.openvino", "runners.backends.openvino_export"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it fails now
    assert isinstance(load(model, TORCH), TorchBackend)
    assert not needs_export(model.stored, DEVICE, TORCH)
    with pytest.raises(ImportError):
        load(model)


@pytest.mark.parametrize(
    ("threshold", "value", "reason", "name"),
    [
        ("MIN_COSINE", {"f32": 2.0, "bf16": 2.0}, "smallest cosine", PLAIN),
        ("MAX_LOGIT_SHARE", {"f32": -1.0, "bf16": -1.0}, "logits differ by 0.0", "japanese-reranker-tiny-v2"),
    ],
)
def test_what_does_not_pass_the_gate_is_served_by_torch_and_not_tried_again(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threshold: str,
    value: dict[str, float],
    reason: str,
    name: str,
) -> None:
    original, _ = exported(name)
    folder = shutil.copytree(original.stored.folder, tmp_path / name, ignore=shutil.ignore_patterns("openvino"))
    model = replace(original, stored=replace(original.stored, folder=folder))
    with monkeypatch.context() as patch:
        patch.setattr(gate, threshold, value)
        report = export(folder, model.spec, model.stored.facts)
    assert str(report["f32"]).startswith(reason)
    monkeypatch.delattr(openvino_export, "_convert")
    assert export(folder, model.spec, model.stored.facts) == report
    assert not needs_export(model.stored, DEVICE, AUTO)
    assert isinstance(load(model), TorchBackend)
    with pytest.raises(ModelUnavailableError, match=reason):
        load(model, OPENVINO)


def test_what_cannot_be_converted_says_so_and_is_served_by_torch(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(openvino_export.ov, "convert_model", fail)
    assert export(fresh.stored.folder, fresh.spec, fresh.stored.facts) == {
        "f32": "OpenVINO cannot convert it (RuntimeError)"
    }
    assert isinstance(load(fresh), TorchBackend)
    assert not needs_export(fresh.stored, DEVICE, AUTO)


@pytest.mark.parametrize(("missing", "served_by"), [("f32", TorchBackend), ("bf16", OpenVINOBackend)])
def test_a_precision_without_a_kernel_is_not_used(
    fresh: Model, monkeypatch: pytest.MonkeyPatch, missing: str, served_by: type[Backend]
) -> None:
    """What ONEDNN_MAX_CPU_ISA=AVX2 does to bfloat16 on a processor that has it."""

    def compile_graphs(folder: Path, *, precision: str, threads: int) -> Graphs:
        if precision == missing:
            raise RuntimeError("Supported primitive descriptors list is empty for node: Softmax")
        return Graphs(folder, precision=precision, threads=threads)

    monkeypatch.setattr(openvino_export, "precisions", lambda: ["f32", missing])
    monkeypatch.setattr(openvino_export, "Graphs", compile_graphs)
    report = export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    assert report[missing] == "OpenVINO cannot compute it (RuntimeError)"
    assert isinstance(load(fresh), served_by)


def test_a_conversion_that_is_killed_leaves_nothing(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """SIGTERM in the last moment."""

    def die(*_args: object) -> None:
        raise Killed

    target = export_folder(fresh.stored.folder)
    with monkeypatch.context() as patch:
        patch.setattr(openvino_export.os, "rename", die)
        with pytest.raises(Killed):
            export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    assert read_report(target) is None
    assert not [path for path in target.parent.iterdir() if path.is_dir()]
    assert needs_export(fresh.stored, DEVICE, AUTO)
    (target.parent / "tmpkilled").mkdir()  # what SIGKILL leaves
    target.mkdir()
    (target / "body.xml").write_text("half of it", encoding="utf-8")
    with ThreadPoolExecutor(2) as pool:  # two workers at once: one converts, the other one finds the result
        reports = list(pool.map(lambda _: export(fresh.stored.folder, fresh.spec, fresh.stored.facts), range(2)))
    assert reports == [{**reports[0], "f32": None}] * 2
    assert [path.name for path in target.parent.iterdir() if path.is_dir()] == [target.name]
    assert (target / REPORT).is_file()
    assert isinstance(load(fresh), OpenVINOBackend)


def test_a_full_disk_says_nothing_about_the_model(
    fresh: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    with monkeypatch.context() as patch:
        patch.setattr(openvino_export.ov, "save_model", fail)
        with pytest.raises(OSError, match="is the disk full"):
            export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
        import_models._export(fresh.spec, fresh.stored, Settings(device="cpu"))  # the import itself went well
    assert "was not converted for OpenVINO" in caplog.text
    assert isinstance(load(fresh), TorchBackend)
    assert needs_export(fresh.stored, DEVICE, AUTO)
    import_models._export(fresh.spec, fresh.stored, Settings(device="cpu"))
    assert isinstance(load(fresh), OpenVINOBackend)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def zero(path: Path) -> None:
    """As a power failure leaves it: OpenVINO would read it and answer with wrong numbers."""
    path.write_bytes(bytes(path.stat().st_size))


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, truncate, zero])
@pytest.mark.parametrize("name", ["body.bin", "body.xml"])
def test_a_damaged_conversion_is_not_served_but_made_anew(
    fresh: Model, damage: Callable[[Path], None], name: str
) -> None:
    export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    assert isinstance(load(fresh), OpenVINOBackend)
    damage(export_folder(fresh.stored.folder) / name)
    assert isinstance(load(fresh), TorchBackend)  # where nothing is imported on demand
    assert needs_export(fresh.stored, DEVICE, AUTO)  # else
    import_models._export(fresh.spec, fresh.stored, Settings(device="cpu"))
    assert isinstance(load(fresh), OpenVINOBackend)
    assert is_whole(export_folder(fresh.stored.folder), thorough=True)


def test_an_import_looks_at_every_bit_of_a_conversion(fresh: Model) -> None:
    export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    folder = export_folder(fresh.stored.folder)
    flip_one_bit(folder / "body.bin")
    assert not is_whole(folder, thorough=True)
    import_models._export(fresh.spec, fresh.stored, Settings(device="cpu"))
    assert is_whole(folder, thorough=True)


def test_openvino_reports_to_nobody(exported: Exported) -> None:
    exported(PLAIN)
    assert sys.modules["openvino_telemetry"] is None
