"""Write a network as OpenVINO models beside its weights, and measure what the conversion costs in accuracy.

Two files: `body.xml` (weights compressed to float16, or kept in float32 for DTYPE=float32; read memory-mapped) and,
where there is one, `head.xml`, which always runs in float32. What was measured before choosing this: OPENVINO.md of the
project's design notes.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.integrity import write_manifest
from runners.backends.accuracy import EXACT, difference, probes
from runners.backends.batches import PaddedBatch, UnpaddedBatch
from runners.backends.openvino import (
    BODY,
    HEAD,
    Graphs,
    Report,
    Weights,
    export_folder,
    export_lock,
    precisions,
    read_footprint,
    read_report,
    write_report,
)
from runners.contracts import Rows
from runners.networks.build import load_network
from runners.networks.network import Network, UnpaddedBody
from runners.networks.packing import attend, can_pack

logger = logging.getLogger("service.models")

ATTENTION = "sdpa_no_empty_rows"


def export(folder: Path, spec: ModelSpec, facts: ModelFacts, weights: Weights = "float16") -> Report:
    """Write the files and the report of the accuracy gate, unless they are there already.

    Whatever is wrong with the model is in the report, and torch serves it then. OSError where nothing can be written:
    that says nothing about the model, and leaves no report.
    """
    target = export_folder(folder, weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    with export_lock(target):
        return read_report(target) or _write(target, Conversion(folder, spec, facts, weights))


@dataclass(frozen=True)
class Conversion:
    """What is converted, and how its weights are stored."""

    folder: Path
    spec: ModelSpec
    facts: ModelFacts
    weights: Weights

    @property
    def precisions(self) -> list[str]:
        """In which it may be served."""
        return precisions() if self.weights == "float16" else ["f32"]


def _write(target: Path, conversion: Conversion) -> Report:
    for leftover in target.parent.glob("tmp*"):  # of a conversion that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        report = _export(Path(work), conversion)
        write_report(Path(work), report)
        write_manifest(Path(work))
        shutil.rmtree(target, ignore_errors=True)  # without a report it is a leftover
        os.rename(work, target)  # all or nothing: a killed conversion leaves no report
        Path(work).mkdir()  # for the context manager to remove
    return report


def _export(target: Path, conversion: Conversion, *, unpadded: bool = True) -> Report:
    """Write the files; with `unpadded` so that attention alone computes padding, where the architecture allows it."""
    spec, facts = conversion.spec, conversion.facts
    register_attention()
    network = load_network(conversion.folder, spec, facts, torch.float32, attention=ATTENTION)
    unpadded = unpadded and can_pack(network.body.encoder)
    batches = [PaddedBatch.of(sequences, facts.pad_id) for sequences in probes(facts)]
    with torch.inference_mode():
        expected = [network(*map(torch.from_numpy, batch.arrays())).numpy() for batch in batches]
    tabulate_positions(network.body, facts.max_tokens)
    try:
        _convert(network, batches[0], target, unpadded=unpadded, fp16=conversion.weights == "float16")
        read_footprint(target, float_bytes=4)
    except OSError:
        raise
    except Exception as error:  # the converter raises whatever it meets
        logger.warning("OpenVINO cannot convert %s: %s", spec.repo, error)
        report: Report = {"f32": f"OpenVINO cannot convert it ({type(error).__name__})"}
    else:
        del network
        report = {
            precision: _gate(target, precision, batches, expected, conversion) for precision in conversion.precisions
        }
    if unpadded and report["f32"] is not None:
        logger.warning("%s is converted with its padding: without, %s", spec.repo, report["f32"])
        return _export(target, conversion, unpadded=False)
    return report


def register_attention() -> None:
    """An attention whose mask lets every row see itself.

    OpenVINO's attention answers NaN for a row without a key (padding under a sliding window), and the NaN spreads;
    torch answers 0. A real token sees itself anyway, so its result does not change.
    """
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, _mask_with_diagonal)


def _mask_with_diagonal(*args: Any, **options: Any) -> torch.Tensor | None:
    if options.get("attention_mask") is None:
        return None  # tokens end to end: the rectangle says who sees whom
    options |= {"use_vmap": False, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    mask: torch.Tensor | None = sdpa_mask(*args, **options)
    if mask is None or mask.shape[-1] != mask.shape[-2]:
        return mask
    places = torch.arange(mask.shape[-1], device=mask.device)
    return mask | (places[None] == places[:, None])  # torch.eye would be converted as integers of (T, T)


class PositionTable(nn.Module):
    """cos and sin of a rotary embedding for every position, from the module that it replaces.

    Frequencies must not be stored in fp16, nor angles computed in bf16: the error grows with the position.
    """

    def __init__(self, rotary: nn.Module, layer_types: Iterable[str | None], positions: int) -> None:
        super().__init__()
        ids, dtype = torch.arange(positions)[None], torch.zeros(1)
        for name in layer_types:
            cos, sin = rotary(dtype, ids) if name is None else rotary(dtype, ids, name)
            self.register_buffer(f"cos_{name}", cos[0])
            self.register_buffer(f"sin_{name}", sin[0])

    def forward(
        self, _hidden: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) -> (B, T, width of a head) twice."""
        return self.get_buffer(f"cos_{layer_type}")[position_ids], self.get_buffer(f"sin_{layer_type}")[position_ids]


def tabulate_positions(body: nn.Module, positions: int) -> None:
    """Replace every rotary embedding by its table, apart from those that depend on the length of the text."""
    for parent in list(body.modules()):
        for name, module in list(parent.named_children()):
            if not type(module).__name__.endswith("RotaryEmbedding"):
                continue
            kinds = module.rope_type if isinstance(module.rope_type, dict) else {None: module.rope_type}
            if not {"dynamic", "longrope"} & set(kinds.values()):
                setattr(parent, name, PositionTable(module, kinds, positions))


def _convert(network: Network, probe: PaddedBatch, target: Path, *, unpadded: bool, fp16: bool) -> None:
    arrays = UnpaddedBatch.of(probe).arrays() if unpadded else probe.arrays()
    traced = UnpaddedBody(network.body) if unpadded else network.body
    inputs = tuple(map(torch.from_numpy, arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python branch
        body = ov.convert_model(traced, example_input=inputs)
        _save(body, target / BODY, fp16=fp16)
        if network.head is not None:
            with torch.inference_mode():
                rows = traced(*inputs)
            head = ov.convert_model(network.head, example_input=(rows.clone(),))
            _save(head, target / HEAD, fp16=False)


def _save(model: Any, path: Path, *, fp16: bool) -> None:
    try:
        ov.save_model(model, path, compress_to_fp16=fp16)
    except RuntimeError as error:  # OpenVINO's own words for a full disk
        raise OSError(f"{path} could not be written; is the disk full?") from error


def _gate(
    target: Path, precision: str, batches: list[PaddedBatch], expected: list[Rows], conversion: Conversion
) -> str | None:
    """None where the converted network is as good as torch's; else what is wrong, for the report."""
    try:
        graphs = Graphs(target, precision=precision, threads=0)
        found = [graphs.infer(batch) for batch in batches]
    except RuntimeError as error:  # no kernel: ONEDNN_MAX_CPU_ISA may rule out what the processor is capable of
        logger.warning("OpenVINO cannot compute the converted model in %s: %s", precision, error)
        return f"OpenVINO cannot compute it ({type(error).__name__})"
    tolerance = precision if conversion.weights == "float16" else EXACT
    vectors = conversion.facts.dimensions is not None
    return difference(np.concatenate(expected), np.concatenate(found), tolerance, vectors=vectors)
