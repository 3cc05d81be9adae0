"""Convert a downloaded checkpoint to a plain safetensors folder that needs no remote code.

One file for each kind of checkpoint; `prepare` runs all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from errors import ModelUnavailableError
from importing.conversion import gte, jina_bert, jina_v2_flash, native, nomic_bert, nv_embed, tokenizer
from importing.conversion.checkpoint import link_weights
from importing.conversion.inspect import inspect_checkpoint
from models.catalog import ModelSpec
from models.facts import ModelFacts
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
    if not (source / "config.json").is_file():
        raise ModelUnavailableError(f"{spec.repo}: config.json is missing. The checkpoint may be incomplete.")
    converter(source, target, spec)
    tokenizer.convert(source, target, spec)
    facts = inspect_checkpoint(spec, source, target, revision)
    for layer in facts.dense:
        link(source / layer / "config.json", target / layer / "config.json")
        link_weights(source / layer, target / layer)
    digests = {name: digest(target / name) for name in relative_files(target)}
    recorded = {"sha256": digests, "fingerprints": fingerprints(target), "import_options": spec.import_options}
    return facts.model_copy(update=recorded)
