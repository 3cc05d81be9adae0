"""Verify a model before it enters the store: compare it with sentence-transformers, and with golden numbers."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from errors import InternalError, InvalidRequestError, ModelUnavailableError, UnsupportedModelError
from importing.probes import Probe, probes
from importing.reference import Reference, ReferenceFailedError, original_files, tokenizer_options, unverifiable
from importing.token_outputs import Found, distances, outputs_of
from models.catalog import ModelSpec, Output
from models.facts import Verification
from models.goldens import Golden
from models.store import StoredModel
from runners.contracts import SIDE_IDS, Rows, TokenSequence
from runners.devices import Device, usable_cores
from runners.embedding import EmbeddingRunner
from runners.engine import Engine
from runners.loaded_model import LoadedModel
from runners.loading import load_model
from runners.networks.pooling import normalize, sigmoid
from runners.pool.capacity import memory_budget, memory_needed
from runners.text.tokenization import Tokenizer
from settings import Settings

PROBES = ("人工知能 means artificial intelligence.", "a")

LOWEST_COSINE = 0.9999
LARGEST_DIFFERENCE = 1e-3
"""Of a score, relative to the spread of the scores."""
LARGEST_DISTANCE = 1e-4
"""Of two unit vectors. Cosines above LOWEST_COSINE do not show small errors, such as another formula of GELU; rounding
alone leaves a distance of about 1e-6."""
_PASS_TOKENS = 4096
"""Padded tokens of a pass: enough for short and long texts in one pass, so that errors of padding show."""

Numbers = NDArray[np.float64]
Computed = tuple[Probe, TokenSequence]


@dataclass(frozen=True)
class Comparison:
    """A golden check, and the largest absolute difference of this machine's numbers from it."""

    golden: Golden
    difference: float

    @property
    def passed(self) -> bool:
        """Whether the largest difference is within the check's tolerance."""
        return self.difference <= self.golden.tolerance


def verify(spec: ModelSpec, stored: StoredModel, settings: Settings, goldens: Sequence[Golden] = ()) -> Verification:
    """Load on the CPU, in float32 if that fits; raise ModelUnavailableError if the model must not be served.

    Loading rejects missing, unexpected and mis-shaped tensors. This function rejects numbers that are not finite, more
    than one logit, and numbers that differ from the golden ones or from those of sentence-transformers: for the latter,
    UnsupportedModelError, since that library may run the model instead.
    """
    device = _probe_device(stored, settings)
    problem = unverifiable(spec, stored)
    if problem is None and device.dtype != "float32":
        problem = "it does not fit into this machine's memory in float32"
    model = load_model(spec, stored, device, settings.model_copy(update={"backend": "torch"}), measure=False)
    assert model.engine is not None
    try:
        if stored.facts.engine == "own":
            _check_output(spec, model.engine)
        comparisons = [compare(golden, model.engine) for golden in goldens]
        results = None if problem else run_probes(spec, stored, model)
    finally:
        model.close()  # the reference is loaded next, and both may not fit
    for result in comparisons:
        if not result.passed:
            raise ModelUnavailableError(
                f"{spec.repo} is refused: its {result.golden.what} differ by {result.difference:.4g} from those of "
                f"{result.golden.source} (tolerance {result.golden.tolerance:g})."
            )
    if results is not None and not results.computed:
        problem = "its vocabulary has no word of the texts"
    if results is None or problem is not None:
        return Verification(by="", at=_now(), problem=problem or "")
    return _compare_with_reference(spec, stored, results)


@dataclass(frozen=True)
class Results:
    """The tokens of all probes, and the outputs of those that are computed, in their order."""

    probes: list[Probe]
    tokens: list[list[int]]
    found: dict[Output, list[Found]]
    """dense: (1, D) vectors, or (1, 1) logits."""

    @property
    def computed(self) -> list[Probe]:
        """The probes with rows."""
        return [probe for probe in self.probes if probe.computed]


def run_probes(spec: ModelSpec, stored: StoredModel, model: LoadedModel) -> Results:
    """Run a model's probes. Texts that the service rejects, such as those without tokens, are left out."""
    engine = model.engine
    assert engine is not None
    wanted, sequences = [], []
    for probe in probes(spec, stored.facts, engine.tokenizer):
        sequence = _sequence(probe, engine.tokenizer)
        if sequence is not None and _is_valid(sequence, stored):
            wanted.append(probe)
            sequences.append(sequence)
    computed = [(probe, sequence) for probe, sequence in zip(wanted, sequences, strict=True) if probe.computed]
    found: dict[Output, list[Found]] = {output: [] for output in stored.facts.outputs or ("dense",)}
    for part in _passes(computed):
        for output, of_part in _outputs(spec, model, list(found), part).items():
            found[output] += of_part
    return Results(wanted, [sequence.input_ids for sequence in sequences], found)


def _outputs(
    spec: ModelSpec, model: LoadedModel, outputs: Sequence[Output], part: Sequence[Computed]
) -> dict[Output, list[Found]]:
    """The outputs of some probes in one pass."""
    assert model.engine is not None
    sequences = [sequence for _, sequence in part]
    if outputs == ["dense"]:
        return {"dense": [row[None].astype(np.float64) for row in _run(spec, model.engine, sequences)]}
    assert isinstance(model.runner, EmbeddingRunner)
    with _refusing(spec):
        return outputs_of(model.runner, outputs, [probe for probe, _ in part], sequences)


def _is_valid(sequence: TokenSequence, stored: StoredModel) -> bool:
    """Whether a network can take a sequence. Some tokenizers have special tokens beyond the embedding table."""
    if stored.facts.engine == "sentence-transformers":
        return bool(sequence.input_ids)
    return bool(sequence.input_ids) and max(sequence.input_ids) < stored.facts.vocabulary


def _sequence(probe: Probe, tokenizer: Tokenizer) -> TokenSequence | None:
    """A probe as the engine gets it; None if the model needs a side of a search and the probe has none."""
    try:
        if isinstance(probe.text, str):
            ((sequence,), _) = tokenizer.encode_texts([probe.text], probe.prompt)
        else:
            ((sequence,), _) = tokenizer.encode_pairs(probe.text[0], [probe.text[1]], probe.prompt)
    except InvalidRequestError:
        return None
    return sequence


def _passes(computed: Sequence[Computed]) -> Iterator[list[Computed]]:
    """Consecutive sequences of one side, in parts of at most _PASS_TOKENS padded tokens or of one sequence."""
    part: list[Computed] = []
    for probe, sequence in computed:
        longest = max(len(each) for each in (*(each for _, each in part), sequence))
        if part and (longest * (len(part) + 1) > _PASS_TOKENS or part[-1][0].side != probe.side):
            yield part
            part = []
        part.append((probe, sequence))
    if part:
        yield part


def _run(spec: ModelSpec, engine: Engine, sequences: Sequence[TokenSequence]) -> Rows:
    """One pass; ModelUnavailableError if it fails or its numbers are not finite."""
    with _refusing(spec):
        return engine.run_now(sequences)


@contextmanager
def _refusing(spec: ModelSpec) -> Iterator[None]:
    """Turn the errors of a pass into the reason why a model must not be served."""
    try:
        yield
    except InternalError as error:  # what the engine raises for NaN
        raise ModelUnavailableError(f"{spec.repo} is refused: it produced NaN or infinity for a short text.") from error
    except (IndexError, ValueError, RuntimeError) as error:  # such as an id beyond the embedding table
        raise UnsupportedModelError(f"{spec.repo} fails on a short text ({type(error).__name__}).") from error


def _compare_with_reference(spec: ModelSpec, stored: StoredModel, results: Results) -> Verification:
    """Compare with sentence-transformers; a failure of that library is the problem only if it has to run the model."""
    try:
        return _compare(spec, stored, results)
    except ReferenceFailedError as error:
        if stored.facts.engine == "sentence-transformers":
            raise ModelUnavailableError(f"{spec.repo} is refused: {error}.") from error
        return Verification(by="", at=_now(), problem=str(error))


def _compare(spec: ModelSpec, stored: StoredModel, results: Results) -> Verification:
    """Compare with each way in which the library may read the tokenizer, until one has the same tokens."""
    difference = ""
    with original_files(stored) as folder:
        for options in tokenizer_options(spec, stored):
            reference = Reference(folder, spec, stored, options)
            _check_prompts(spec, results.probes, reference)
            found = _different_tokens(results, reference)
            if found is None:
                return _compare_rows(spec, stored, results, reference)
            difference = difference or found
            del reference
            gc.collect()
    raise _differs(spec, stored, difference)


def _check_prompts(spec: ModelSpec, wanted: Sequence[Probe], reference: Reference) -> None:
    for probe in wanted:
        defined = reference.prompt(probe) if spec.kind == "embedding" else None
        if defined is not None and defined != probe.prompt:
            name = probe.side or probe.prompt_name
            raise ModelUnavailableError(
                f"{spec.repo} is refused: its repository defines another prompt {name!r} than the catalogue. Correct "
                "the model's prompts in a file of your own (EXTRA_CATALOG)."
            )


def _different_tokens(results: Results, reference: Reference) -> str | None:
    for probe, tokens in zip(results.probes, results.tokens, strict=True):
        expected = reference.tokens(probe)
        if [token % SIDE_IDS for token in tokens] != expected:
            return f"a probe text has {len(tokens)} tokens, or others, instead of {len(expected)}"
    return None


def _compare_rows(spec: ModelSpec, stored: StoredModel, results: Results, reference: Reference) -> Verification:
    verification = Verification(by=reference.by, at=_now(), texts=len(results.probes))
    furthest = 0.0
    expected = reference.outputs(results.computed)
    if spec.kind == "reranker":
        share = _share(spec, stored, results.found["dense"], [outputs["dense"] for outputs in expected])
        return verification.model_copy(update={"largest_difference": share})
    for output, found in results.found.items():
        pairs = zip(found, expected, strict=True)
        apart = np.concatenate([distances(ours, theirs[output]) for ours, theirs in pairs])
        lowest = float(1 - (apart**2).max() / 2)
        if not (lowest >= LOWEST_COSINE and apart.max() <= LARGEST_DISTANCE):
            raise _differs(spec, stored, f"{output} vectors differ, with a lowest cosine of {lowest:.9f}")
        furthest = max(furthest, float(apart.max()))
    return verification.model_copy(update={"lowest_cosine": 1 - furthest**2 / 2})


def _share(spec: ModelSpec, stored: StoredModel, found: Sequence[Found], expected: Sequence[Found]) -> float:
    """The largest difference of a score, relative to the spread of the scores."""
    ours, theirs = (np.concatenate([np.ravel(np.asarray(row)) for row in rows]) for rows in (found, expected))
    if ours.shape != theirs.shape:
        raise _differs(spec, stored, f"it has {len(ours)} scores instead of {len(theirs)}")
    share = float(np.abs(ours - theirs).max() / max(np.ptp(theirs), np.finfo(np.float32).tiny))
    if not share <= LARGEST_DIFFERENCE:
        raise _differs(spec, stored, f"scores differ by {share:.2g} of their spread")
    return share


def _differs(spec: ModelSpec, stored: StoredModel, difference: str) -> ModelUnavailableError:
    if stored.facts.engine == "sentence-transformers":
        return ModelUnavailableError(
            f"{spec.repo} is refused: its results differ between two loads ({difference}). Its weights are incomplete."
        )
    return UnsupportedModelError(f"{spec.repo} differs from sentence-transformers: {difference}.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def compare(golden: Golden, engine: Engine) -> Comparison:
    """Recompute the golden numbers and compare them."""
    numbers = _recompute(golden, engine)
    expected = np.asarray(golden.expected)
    difference = float(np.abs(numbers - expected).max()) if np.isfinite(numbers).all() else float("inf")
    return Comparison(golden, difference)


def _recompute(golden: Golden, engine: Engine) -> Numbers:
    pairs = golden.text_pairs()
    if golden.what == "query_cosines":
        queries = _vectors(engine, [query for query, _ in pairs], golden.query_prompt)
        documents = _vectors(engine, [document for _, document in pairs], golden.document_prompt)
        return np.asarray((queries * documents).sum(axis=1), dtype=np.float64)
    sequences = [engine.tokenizer.encode_pairs(query, [document])[0][0] for query, document in pairs]
    logits = engine.run_now(sequences)[:, 0]
    if golden.what == "rerank_logits":
        return logits.astype(np.float64)
    if golden.what == "rerank_scores":
        return sigmoid(logits)
    assert_never(golden.what)


def _vectors(engine: Engine, texts: list[str], prompt: str) -> Numbers:
    sequences, _ = engine.tokenizer.encode_texts(texts, prompt)
    return normalize(engine.run_now(sequences)).astype(np.float64)


def _check_output(spec: ModelSpec, engine: Engine) -> None:
    if spec.kind == "embedding":
        sequences, _ = engine.tokenizer.encode_texts(PROBES)
    else:
        sequences, _ = engine.tokenizer.encode_pairs(PROBES[0], PROBES, spec.instruction or "")
    rows = _run(spec, engine, sequences)
    if spec.kind == "reranker" and rows.shape[1] != 1:
        raise ModelUnavailableError(f"{spec.repo} is refused: a reranker must have 1 logit, not {rows.shape[1]}.")


def _probe_device(stored: StoredModel, settings: Settings) -> Device:
    device = Device("cpu", "cpu", "float32", settings.cpu_threads or usable_cores())
    if memory_needed(stored.facts.parameters, "float32") <= memory_budget(device, settings):
        return device
    return Device("cpu", "cpu", "bfloat16", device.threads)  # within the tolerances of the goldens
