"""The OpenVINO engine: what is converted and when, and when torch serves.

The numbers of every architecture, and texts that need much memory, are in architectures/.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch

from errors import ModelUnavailableError
from importing import export_child, importer, openvino_export
from importing.export_child import ExportJob
from importing.openvino_export import export
from importing.speed import measure_speeds
from models.catalog import ModelSpec
from models.integrity import is_whole
from models.store import StoredModel
from runners import loading
from runners.backends import accuracy
from runners.backends.batches import Ids, UnpaddedBatch
from runners.backends.openvino import (
    BODY,
    EARLIER_VERSIONS,
    PADDED_ATTENTION,
    REPORT,
    SHARED_ATTENTION,
    Graphs,
    OpenVINOBackend,
    export_folder,
    find_export,
    precisions,
    read_report,
    weights_for,
)
from runners.backends.speed import read_speeds, write_speeds
from runners.backends.torch import TorchBackend
from runners.compute import compute_pass
from runners.contracts import Backend, BatchShape
from runners.devices import Device
from runners.loading import load_model, needs_export
from runners.networks.network import Body, UnpaddedBody
from settings import Settings
from tests.integration.architectures.workshop import Model
from tests.integration.exports import (
    ANY,
    AUTO,
    DEVICE,
    OPENVINO,
    TORCH,
    Exported,
    assert_same,
    batch_of,
    batches,
    convert,
    load,
)
from tests.tolerance import scaled

PLAIN = "multilingual-e5-small"


@pytest.fixture
def fresh(exported: Exported, tmp_path: Path) -> Model:
    """A stored model that was not converted yet."""
    model, _ = exported(PLAIN)
    folder = shutil.copytree(model.stored.folder, tmp_path / "fresh", ignore=shutil.ignore_patterns("openvino"))
    return replace(model, stored=replace(model.stored, folder=folder))


def test_without_a_wish_the_weights_are_kept_in_half_precision(exported: Exported) -> None:
    model, _ = exported(PLAIN)
    export(model.stored.folder, model.spec, model.stored.facts)
    found = load(model, device=ANY)
    assert found.weights_dtype == "float16"
    assert found.dtype == ("bfloat16" if "bf16" in precisions() else "float32")
    folders = [find_export(model.stored.folder, weights) for weights in ("float16", "float32")]
    small, large = ((found[0] / BODY).with_suffix(".bin").stat().st_size for found in folders if found)
    assert small < 0.7 * large
    found.close()


def test_either_export_may_come_first_and_is_made_when_it_is_wanted(fresh: Model) -> None:
    stored = fresh.stored
    export(stored.folder, fresh.spec, stored.facts)
    assert (needs_export(stored, ANY, AUTO), needs_export(stored, DEVICE, AUTO)) == (False, True)
    assert isinstance(load(fresh), TorchBackend)  # in float32, rather than from rounded weights
    export(stored.folder, fresh.spec, stored.facts, "float32")
    assert not needs_export(stored, DEVICE, AUTO)
    assert load(fresh).name == "openvino f32 on cpu"


class EarlierBody(torch.nn.Module):
    """The inputs of version 3: each row of attention has one text."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.unpadded = UnpaddedBody(body)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pooling_mask: torch.Tensor,
        places: torch.Tensor,
        indices: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        inputs = (input_ids, position_ids, attention_mask, pooling_mask, places, indices)
        rows: torch.Tensor = self.unpadded(*inputs, places, torch.ones_like(places[:, :1]), token_type_ids)
        return rows


class RowsOnly(torch.nn.Module):
    """The results of versions before 5: no states of tokens."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.body(*inputs)
        return rows


class EarlierBatch(UnpaddedBatch):
    """What a graph of version 3 is traced with."""

    def arrays(self, *, shared: bool = False) -> list[Ids]:
        return super().arrays(shared=shared)


@pytest.mark.parametrize("version", ["4", "3"])
def test_an_export_of_an_earlier_version_serves_until_there_is_a_newer_one(
    version: str, fresh: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert version in EARLIER_VERSIONS
    stored = fresh.stored
    with monkeypatch.context() as patch:
        patch.setattr(openvino_export, "WithStates", RowsOnly)
        if version == "3":
            patch.setattr(openvino_export, "UnpaddedBody", EarlierBody)
            patch.setattr(openvino_export, "UnpaddedBatch", EarlierBatch)
        for weights in (weights_for(device.requested_dtype) for device in (ANY, DEVICE)):
            export(stored.folder, fresh.spec, stored.facts, weights)
            export_folder(stored.folder, weights).rename(export_folder(stored.folder, weights, version))
    assert needs_export(stored, ANY, AUTO)
    assert isinstance(load(fresh, device=ANY), OpenVINOBackend)
    served, expected = load(fresh), load(fresh, TORCH)
    assert isinstance(served, OpenVINOBackend)
    assert served.padding_cost == (SHARED_ATTENTION if version == "4" else PADDED_ATTENTION)
    assert served.pass_bytes(BatchShape(40, 500, 2000)) > 0
    for batch in batches(stored):
        assert_same(served.forward(batch), expected.forward(batch))
    export(stored.folder, fresh.spec, stored.facts)
    assert not needs_export(stored, ANY, AUTO)
    assert find_export(stored.folder) == (export_folder(stored.folder), {**dict.fromkeys(precisions())})


def test_what_differs_without_padding_is_converted_with_it(
    fresh: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An architecture whose attention is called in its own way may pass through and compute something else."""
    with_states = UnpaddedBody.with_states

    def wrong(self: UnpaddedBody, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, states = with_states(self, *inputs)
        return rows.flip(1), states

    with monkeypatch.context() as patch:
        patch.setattr(UnpaddedBody, "with_states", wrong)
        report = convert(fresh)
    assert report["f32"] is None
    assert "with padding, because without it: numbers differ by" in caplog.text
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads the threads of the process from /proc")
def test_threads_may_run_on_every_core(exported: Exported) -> None:
    """Otherwise the threads of several processes share a core, while others are idle."""
    model, _ = exported(PLAIN)
    backend = load(model)
    allowed, texts = set[frozenset[int]](), batch_of(model.stored, *[60] * 8)
    with ThreadPoolExecutor(1) as pool:
        computed = pool.submit(lambda: [backend.forward(texts) for _ in range(50)])
        while not computed.done():
            for thread in os.listdir("/proc/self/task"):
                with suppress(ProcessLookupError):  # it has ended
                    allowed.add(frozenset(os.sched_getaffinity(int(thread))))
    assert allowed == {frozenset(os.sched_getaffinity(0))}
    backend.close()


class StackOfSignals(ctypes.Structure):
    """stack_t, the stack on which a thread runs its signal handlers (sigaltstack(2))."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def stack_of_signals() -> tuple[int | None, int]:
    """Address and size of this thread's."""
    found = StackOfSignals()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.address, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="stack_t is laid out as on Linux")
def test_signals_keep_their_stack(exported: Exported) -> None:
    """OpenVINO gives another one to the thread that compiles; once it is unmapped, a signal ends the process."""
    model, _ = exported(PLAIN)
    before = stack_of_signals()
    backend = load(model)
    assert stack_of_signals() == before
    backend.close()
    assert stack_of_signals() == before


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
    with pytest.raises(ModelUnavailableError, match=r"BACKEND=openvino .*it was not exported; run ./embeddings import"):
        load(fresh, OPENVINO)


def test_where_torch_is_asked_for_openvino_is_not_touched(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = exported(PLAIN)
    for module in ("openvino", "runners.backends.openvino", "importing.openvino_export"):
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
        patch.setattr(accuracy, threshold, value)
        report = export(folder, model.spec, model.stored.facts)
    assert str(report["f32"]).startswith(reason)
    monkeypatch.delattr(openvino_export, "_convert")
    assert export(folder, model.spec, model.stored.facts) == report
    assert not needs_export(model.stored, ANY, AUTO)
    assert isinstance(load(model, device=ANY), TorchBackend)
    with pytest.raises(ModelUnavailableError, match=reason):
        load(model, OPENVINO, ANY)


def test_what_cannot_be_converted_says_so_and_is_served_by_torch(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(ov, "convert_model", fail)
    assert convert(fresh) == {"f32": "OpenVINO cannot convert it (RuntimeError)"}
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
    assert isinstance(load(fresh, device=ANY), served_by)


def test_a_conversion_that_is_killed_leaves_nothing(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """SIGTERM in the last moment."""

    def die(*_args: object) -> None:
        raise Killed

    target = export_folder(fresh.stored.folder, "float32")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(Killed):
            convert(fresh)
    assert read_report(target) is None
    assert not [path for path in target.parent.iterdir() if path.is_dir()]
    assert needs_export(fresh.stored, DEVICE, AUTO)
    (target.parent / "tmpkilled").mkdir()  # what SIGKILL leaves
    target.mkdir()
    (target / "body.xml").write_text("half of it", encoding="utf-8")
    with ThreadPoolExecutor(2) as pool:  # two workers at once: one converts, the other one finds the result
        reports = list(pool.map(lambda _: convert(fresh), range(2)))
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
        patch.setattr(ov, "save_model", fail)
        with pytest.raises(OSError, match="is the disk full"):
            convert(fresh)
        job = ExportJob(
            parent=os.getpid(),
            folder=fresh.stored.folder,
            spec=fresh.spec,
            facts=fresh.stored.facts,
            device=DEVICE,
            torch=True,
        )
        assert export_child.convert(job) == os.EX_IOERR
    assert "was not converted for OpenVINO and is served by torch" in caplog.text
    assert isinstance(load(fresh), TorchBackend)
    assert needs_export(fresh.stored, DEVICE, AUTO)


def test_an_import_converts_in_a_process_of_its_own(fresh: Model) -> None:
    importer.export_for_openvino(fresh.spec, fresh.stored, Settings(device="cpu", dtype="float32"))
    backend = load(fresh)
    assert isinstance(backend, OpenVINOBackend)
    assert backend.weights_dtype == "float32"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports convert here: a process that imports torch takes seconds."""

    def export_here(spec: ModelSpec, stored: StoredModel, device: Device, *, torch: bool) -> None:
        assert torch  # BACKEND=auto
        export(stored.folder, spec, stored.facts, weights_for(device.requested_dtype))

    monkeypatch.setattr(export_child, "export_in_child", export_here)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def zero(path: Path) -> None:
    """As a power failure leaves it: OpenVINO would read it and answer with wrong numbers."""
    path.write_bytes(bytes(path.stat().st_size))


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 1] ^= 1
    path.write_bytes(content)


@pytest.mark.usefixtures("in_this_process")
def test_a_damaged_conversion_is_not_served_but_made_anew(fresh: Model, tmp_path: Path) -> None:
    export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    folder = export_folder(fresh.stored.folder)
    assert isinstance(load(fresh, device=ANY), OpenVINOBackend)
    whole = shutil.copytree(folder, tmp_path / "whole")
    for damage in (Path.unlink, truncate, zero):
        for name in ("body.bin", "body.xml"):
            shutil.copytree(whole, folder, dirs_exist_ok=True)
            assert not needs_export(fresh.stored, ANY, AUTO)
            damage(folder / name)
            assert isinstance(load(fresh, device=ANY), TorchBackend), (damage, name)  # nothing imported on demand
            assert needs_export(fresh.stored, ANY, AUTO)  # else
    importer.export_for_openvino(fresh.spec, fresh.stored, Settings(device="cpu"))
    assert isinstance(load(fresh, device=ANY), OpenVINOBackend)
    assert is_whole(folder, thorough=True)


@pytest.mark.usefixtures("in_this_process")
def test_an_import_looks_at_every_bit_of_a_conversion(fresh: Model) -> None:
    export(fresh.stored.folder, fresh.spec, fresh.stored.facts)
    folder = export_folder(fresh.stored.folder)
    flip_one_bit(folder / "body.bin")
    assert not is_whole(folder, thorough=True)
    importer.export_for_openvino(fresh.spec, fresh.stored, Settings(device="cpu"))
    assert is_whole(folder, thorough=True)


def test_the_fastest_measured_engine_serves(fresh: Model) -> None:
    """Also with several streams: passes that run at the same time compute the same rows."""
    convert(fresh)
    eight = replace(DEVICE, threads=8)
    measured = measure_speeds(fresh.spec, fresh.stored, eight, torch=True)
    names = ["openvino f32", "openvino f32, 2 streams", "torch f32"]
    assert list(measured.tokens_per_s) == names
    assert min(measured.tokens_per_s.values()) > 0
    assert read_speeds(fresh.stored.folder, "float32", 8) == measured
    ((served, passes),) = measured.passes.items()
    assert served in names
    assert min(seconds for _, seconds in passes) > 0

    def served_by(fastest: str) -> Backend:
        speeds = measured.model_copy(update={"tokens_per_s": dict.fromkeys(names, 1.0) | {fastest: 2.0}})
        write_speeds(fresh.stored.folder, "float32", speeds)
        return load(fresh, device=eight)

    def passes_of_a_load(**changes: Any) -> int:
        """The passes that a load runs to learn what they cost."""
        write_speeds(fresh.stored.folder, "float32", measured.model_copy(update=changes))
        tried: list[Any] = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(loading, "compute_pass", lambda *arguments: tried.append(compute_pass(*arguments)))
            load_model(fresh.spec, fresh.stored, eight, Settings(device="cpu"), tokenizer=False).close()
        return len(tried)

    assert passes_of_a_load() == 1
    assert passes_of_a_load(passes={}) > 1
    assert isinstance(served_by(names[2]), TorchBackend)
    one, two = served_by(names[0]), served_by(names[1])
    assert (one.concurrent_passes, two.concurrent_passes) == (1, 2)
    batches = [batch_of(fresh.stored, *lengths) for lengths in ((3, 17), (64, 9, 30), (5,))]
    with ThreadPoolExecutor(2) as lanes:
        for found, batch in zip(lanes.map(two.forward, batches * 5), batches * 5, strict=True):
            np.testing.assert_allclose(found, one.forward(batch), atol=scaled(1e-5))


def test_openvino_reports_to_nobody(exported: Exported) -> None:
    exported(PLAIN)
    assert sys.modules["openvino_telemetry"] is None
