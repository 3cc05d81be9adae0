"""Write a network as OpenVINO models beside its weights, and measure the loss of accuracy.

`body.xml` (weights in float16, or float32 for DTYPE=float32; read memory-mapped) returns rows and the states of tokens.
A head for rows is `head.xml`, which always runs in float32. Heads for other outputs, which run only for requests that
want them, are `tokens.xml`, in float32, and `vocabulary.xml`.
"""

from __future__ import annotations

import logging
import os
import shutil
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

from importing.int8 import compress, cost, sample
from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.integrity import finished_folder
from models.store import StoredModel
from runners.backends.accuracy import EXACT, difference, probes
from runners.backends.batches import PackedBatch, PaddedBatch, UnpaddedBatch
from runners.backends.openvino import (
    BODY,
    HEAD,
    TOKENS,
    VOCABULARY,
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
from runners.backends.token_outputs import bounds_of
from runners.contracts import Rows, TokenSequence, Wanted
from runners.networks.build import load_network
from runners.networks.network import Network, UnpaddedBody, WithStates
from runners.networks.packing import attend, can_pack
from runners.networks.token_heads import TokenHeads

logger = logging.getLogger("service.models")

ATTENTION = "sdpa_no_empty_rows"


def export(folder: Path, spec: ModelSpec, facts: ModelFacts, weights: Weights = "float16") -> Report:
    """Write the files and the report of the accuracy check, unless they exist.

    The report records any problem with the model; torch then serves it. Raises OSError, and leaves no report, if the
    files cannot be written.
    """
    target = export_folder(folder, weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    with export_lock(target):
        return read_report(target) or _write(target, Conversion(folder, spec, facts, weights))


@dataclass(frozen=True)
class Conversion:
    """A model to convert, and the data type of the stored weights."""

    folder: Path
    spec: ModelSpec
    facts: ModelFacts
    weights: Weights

    @property
    def precisions(self) -> list[str]:
        """Inference precisions of the network before its weights are stored in int8."""
        return precisions() if self.weights == "float16" else ["f32"]


def _write(target: Path, conversion: Conversion) -> Report:
    for leftover in target.parent.glob("tmp*"):  # of a conversion that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with finished_folder(target) as work:  # `target` is a leftover at most, as it has no report
        report = _export(work, conversion)
        if conversion.weights == "int8" and report["f32"] is None:
            report = _quantize(work, conversion)
        write_report(work, report)
    return report


def _quantize(target: Path, conversion: Conversion) -> Report:
    """Store the weights of an exact export in int8, unless that changes its results too much."""
    sequences = sample(conversion.spec, StoredModel("exported", conversion.folder, conversion.facts))
    batches = [PaddedBatch.of([sequence], conversion.facts.pad_id) for sequence in sequences]
    expected = _rows(target, "f32", batches)
    body = ov.Core().read_model(target / BODY)
    if not compress(body):
        return {"f32": "it has no weights that int8 applies to"}
    _save(body, target / f"int8-{BODY}", fp16=True)
    del body  # it reads the file that is replaced
    for suffix in (".xml", ".bin"):
        os.replace((target / f"int8-{BODY}").with_suffix(suffix), (target / BODY).with_suffix(suffix))
    report: Report = {}
    for precision in precisions():
        try:
            found = cost(expected, _rows(target, precision, batches))
        except RuntimeError as error:
            report[precision] = _uncomputable(precision, error)
            continue
        report[precision] = found.refusal
        if found.refusal is None:
            report["cost"] = str(found)
    logger.warning("%s with DTYPE=int8, against float32: %s", conversion.spec.name, report.get("cost", report["f32"]))
    return report


def _rows(target: Path, precision: str, batches: list[PaddedBatch]) -> Rows:
    graphs = Graphs(target, precision=precision, threads=0)
    return np.concatenate([graphs.infer(batch) for batch in batches])


def _uncomputable(precision: str, error: RuntimeError) -> str:
    """No kernel: ONEDNN_MAX_CPU_ISA may disable instructions of the processor."""
    logger.warning("OpenVINO cannot compute the converted model in %s: %s", precision, error)
    return f"OpenVINO cannot compute it ({type(error).__name__})"


def _export(target: Path, conversion: Conversion, *, unpadded: bool = True) -> Report:
    """Write the files; if `unpadded` and the architecture allows it, only attention computes padding."""
    spec, facts = conversion.spec, conversion.facts
    if facts.sparse is not None and facts.sparse.pooling == "sum":
        return {"f32": "its sparse vectors need torch"}
    register_attention()
    network = load_network(conversion.folder, spec, facts, torch.float32, attention=ATTENTION)
    unpadded = unpadded and can_pack(network.body.encoder)
    texts = probes(facts)
    with torch.inference_mode():
        expected = [_torch_results(network, sequences, facts) for sequences in texts]
    tabulate_positions(network.body, facts.max_tokens)
    try:
        _convert(
            network,
            PaddedBatch.of(texts[0], facts.pad_id),
            target,
            unpadded=unpadded,
            fp16=conversion.weights == "float16",
        )
        read_footprint(target, float_bytes=4)
    except OSError:
        raise
    except Exception as error:  # the converter may raise anything
        logger.warning("OpenVINO cannot convert %s: %s", spec.repo, error)
        report: Report = {"f32": f"OpenVINO cannot convert it ({type(error).__name__})"}
    else:
        del network
        report = {
            precision: _find_problem(target, precision, texts, expected, conversion)
            for precision in conversion.precisions
        }
    if unpadded and report["f32"] is not None:
        logger.warning("converting %s with padding, because without it: %s", spec.repo, report["f32"])
        return _export(target, conversion, unpadded=False)
    return report


def register_attention() -> None:
    """Register an attention in which every token attends to itself.

    For a token without a key (padding under a sliding window) OpenVINO computes NaN, which spreads; torch computes 0.
    Real tokens attend to themselves anyway, so their results do not change.
    """
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, _mask_with_diagonal)


def _mask_with_diagonal(*args: Any, **options: Any) -> torch.Tensor | None:
    if options.get("attention_mask") is None:
        return None  # packed tokens: the rectangle has the mask
    options |= {"use_vmap": False, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    mask: torch.Tensor | None = sdpa_mask(*args, **options)
    if mask is None or mask.shape[-1] != mask.shape[-2]:
        return mask
    places = torch.arange(mask.shape[-1], device=mask.device)
    return mask | (places[None] == places[:, None])  # torch.eye would be converted as integers of (T, T)


class PositionTable(nn.Module):
    """cos and sin of a rotary embedding for every position, computed by the module that it replaces.

    Frequencies in fp16 or angles in bf16 would cause an error that grows with the position.
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
        """(B, T) -> two of (B, T, head width)."""
        return self.get_buffer(f"cos_{layer_type}")[position_ids], self.get_buffer(f"sin_{layer_type}")[position_ids]


def tabulate_positions(body: nn.Module, positions: int) -> None:
    """Replace every rotary embedding by its table, except those that depend on the length of the text."""
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
    body_graph = WithStates(traced)
    inputs = tuple(map(torch.from_numpy, arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about every Python branch
        body = ov.convert_model(body_graph, example_input=inputs)
        _save(body, target / BODY, fp16=fp16)
        if network.head is not None:
            with torch.inference_mode():
                rows = traced(*inputs)
            head = ov.convert_model(network.head, example_input=(rows.clone(),))
            _save(head, target / HEAD, fp16=False)
        _convert_token_heads(network, target, fp16=fp16)


class TokenGraph(nn.Module):
    """The heads for token weights and token vectors: states (N, H) -> (N,) and (N, D), those that the model has."""

    def __init__(self, heads: TokenHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, H) -> (N,), (N, D)."""
        found = self.heads(states, torch.zeros(0), Wanted.SPARSE | Wanted.TOKENS)
        return tuple(found[output] for output in (Wanted.SPARSE, Wanted.TOKENS) if output in found)


class VocabularyGraph(nn.Module):
    """The masked-LM head and its maximum over the tokens of a text."""

    def __init__(self, heads: TokenHeads) -> None:
        super().__init__()
        assert heads.vocabulary is not None
        self.vocabulary = heads.vocabulary
        self._activate = heads.activate

    def forward(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """States (N, H), and the places of the tokens of texts among them (B, T) -> (B, V)."""
        return self._activate(self.vocabulary(states[places]).amax(dim=1))


def _convert_token_heads(network: Network, target: Path, *, fp16: bool) -> None:
    heads = network.token_heads
    if heads.weights is None and heads.vectors is None and heads.vocabulary is None:
        return
    states = torch.zeros(7, _hidden_width(network))
    if heads.weights is not None or heads.vectors is not None:
        tokens = ov.convert_model(TokenGraph(heads), example_input=(states,))
        _save(tokens, target / TOKENS, fp16=False)
    if heads.vocabulary is not None:
        places = torch.arange(6).reshape(2, 3)
        vocabulary = ov.convert_model(VocabularyGraph(heads), example_input=(states, places))
        _save(vocabulary, target / VOCABULARY, fp16=fp16)


def _hidden_width(network: Network) -> int:
    config: Any = network.body.encoder.config
    return int(config.hidden_size)


def _save(model: Any, path: Path, *, fp16: bool) -> None:
    try:
        ov.save_model(model, path, compress_to_fp16=fp16)
    except RuntimeError as error:  # OpenVINO's error for a full disk
        raise OSError(f"{path} could not be written; is the disk full?") from error


def _find_problem(
    target: Path,
    precision: str,
    texts: list[list[TokenSequence]],
    expected: list[dict[Wanted, Rows]],
    conversion: Conversion,
) -> str | None:
    """The problem with the converted network, for the report; None if it is as accurate as torch's."""
    facts = conversion.facts
    try:
        graphs = Graphs(target, precision=precision, threads=0)
        computed = [_graph_results(graphs, sequences, facts) for sequences in texts]
    except RuntimeError as error:
        return _uncomputable(precision, error)
    tolerance = precision if conversion.weights == "float16" else EXACT
    rows = [np.concatenate([part[Wanted.DENSE] for part in parts]) for parts in (expected, computed)]
    pairs = [(rows[0], rows[1])]
    for theirs, ours in zip(expected, computed, strict=True):
        others = [output for output in ours if output != Wanted.DENSE and theirs[output].any()]
        pairs += [(theirs[output], ours[output]) for output in others]
    vectors = facts.dimensions is not None
    return next(filter(None, (difference(*pair, tolerance, vectors=vectors) for pair in pairs)), None)


def _wanted(facts: ModelFacts) -> Wanted:
    """What the graphs compute: rows always, and the other outputs of the model."""
    return Wanted.DENSE | Wanted.of(facts.outputs)


def _torch_results(network: Network, sequences: list[TokenSequence], facts: ModelFacts) -> dict[Wanted, Rows]:
    """The results of torch: rows of texts, or of tokens."""
    batch, wanted = PaddedBatch.of(sequences, facts.pad_id), _wanted(facts)
    arrays = list(map(torch.from_numpy, batch.arrays()))
    if wanted == Wanted.DENSE:
        return {Wanted.DENSE: network(*arrays).numpy()}
    states = network.body.with_states(*arrays)[1][torch.from_numpy(batch.text_mask).bool()]
    packed = PackedBatch.of(sequences)
    counted, bounds = torch.from_numpy(packed.tokens[2]).float(), torch.from_numpy(packed.bounds)
    found = network.outputs(states, counted, bounds, wanted)
    return {output: _as_rows(rows.numpy()) for output, rows in found.items()}


def _graph_results(graphs: Graphs, sequences: list[TokenSequence], facts: ModelFacts) -> dict[Wanted, Rows]:
    """The same of the graphs; without the outputs of a head that was not converted."""
    batch = PaddedBatch.of(sequences, facts.pad_id)
    found = graphs.infer_outputs(batch, bounds_of(sequences), _wanted(facts))
    return {output: _as_rows(rows).copy() for output, rows in found.items()}


def _as_rows(found: Rows) -> Rows:
    """Token weights (N,) as one row: their ratios matter."""
    return found if found.ndim > 1 else found[None]
