"""Convert a downloaded checkpoint to a plain safetensors folder that needs no remote code.

One file for each kind of checkpoint; `prepare` runs all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from errors import ModelUnavailableError, UnsupportedModelError
from importing.conversion import gte, jina_bert, jina_v2_flash, native, nomic_bert, nv_embed, tokenizer, unchanged
from importing.conversion.checkpoint import link_weights
from importing.conversion.inspect import inspect_checkpoint
from importing.conversion.outputs import convert_stanford, encoder_folder
from importing.download import is_checkpoint
from models.catalog import ModelSpec
from models.facts import REFERENCE, ModelFacts
from models.files import digest, link, relative_files
from models.integrity import fingerprints

CONVERTERS: dict[str, Callable[[Path, Path, ModelSpec], None]] = {
    "native": native.convert,
    "jina_v2_flash": jina_v2_flash.convert,
    "gte": gte.convert,
    "jina_bert": jina_bert.convert,
    "nv_embed": nv_embed.convert,
    "nomic_bert": nomic_bert.convert,
}
"""ModelSpec.conversion -> function(source, target, spec) that writes config.json and the weights into `target`."""


def prepare(spec: ModelSpec, source: Path, target: Path, revision: str) -> ModelFacts:
    """Write everything that serving needs into `target`; return the facts about the checkpoint."""
    converter = CONVERTERS.get(spec.conversion)
    if converter is None:
        raise ModelUnavailableError(f"{spec.repo} cannot be imported: there is no converter {spec.conversion!r}.")
    if not is_checkpoint(source):
        raise ModelUnavailableError(f"{spec.repo}: config.json is missing. The checkpoint may be incomplete.")
    network = encoder_folder(source)
    if not (network / "config.json").is_file():
        raise UnsupportedModelError(f"{spec.repo} has no config.json, only modules of sentence-transformers.")
    converter(network, target, spec)
    tokenizer.convert(network, target, spec)
    convert_stanford(source, target)
    facts = inspect_checkpoint(spec, source, target, revision)
    for layer in facts.dense:
        if (target / layer).is_dir():  # written by the conversion
            continue
        link(source / layer / "config.json", target / layer / "config.json")
        link_weights(source / layer, target / layer)
    if spec.conversion == "native":
        unchanged.copy_settings(source, target / REFERENCE)
        for table in source.glob("query_*/model.safetensors"):  # of a sparse model's queries
            link(table, target / REFERENCE / table.relative_to(source))
    return _with_digests(facts, spec, target)


def prepare_unchanged(spec: ModelSpec, source: Path, target: Path, revision: str, reason: str) -> ModelFacts:
    """Write the files that sentence-transformers needs into `target`; return the facts about the checkpoint.

    `reason` says why our own engines do not run the model.
    """
    return _with_digests(unchanged.convert(spec, source, target, revision, reason), spec, target)


def _with_digests(facts: ModelFacts, spec: ModelSpec, target: Path) -> ModelFacts:
    digests = {name: digest(target / name) for name in relative_files(target)}
    recorded = {"sha256": digests, "fingerprints": fingerprints(target), "import_options": spec.import_options}
    return facts.model_copy(update=recorded)
