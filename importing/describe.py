"""Complete a model's block from the files of its repository: kind, pooling, prompts, licence and languages."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import yaml

from errors import ModelUnavailableError
from importing.download import CARD
from models.catalog import ModelSpec, Output, Tokenizer

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names of a document's prompt in sentence-transformers; the first one that has a text is used."""
_COMMERCIAL = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0", "unlicense"}
_LANGUAGES_SHOWN = 8
_SAVED = ("SentenceTransformer", "CrossEncoder", "SparseEncoder", "MultiVectorEncoder", "ColBERT")
"""Values of `model_type` in config_sentence_transformers.json; PyLate writes the last one."""
_SPARSE_TAGS = {"splade", "sparse-encoder", "sparse-retrieval", "query-expansion", "document-expansion", "bag-of-words"}
"""Tags in the model cards of masked language models that are sparse models."""
_JAPANESE_BERT = "BertJapaneseTokenizer"


def describe(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The complete block; ModelUnavailableError if the repository is of a kind that the service does not serve."""
    sentence = _read(folder / "config_sentence_transformers.json")
    config, card = _read(folder / "config.json"), _card(folder)
    kind = _kind(spec, folder, sentence, config, card)
    outputs = _outputs(folder, config, card) if kind == "embedding" else ()
    prompts = _prompts(sentence) if kind == "embedding" else {}
    default = sentence.get("default_prompt_name")
    if outputs == ("multi_vector",):
        from importing.conversion.outputs import prefixes  # imports torch

        prompts = {name: text for name, text in prefixes(folder).items() if text}
        default = "document"
    languages = _languages(card)
    japanese_bert = _read(folder / "tokenizer_config.json").get("tokenizer_class") == _JAPANESE_BERT
    lower_case = bool(_read(folder / "sentence_bert_config.json").get("do_lower_case"))
    licence = _licence(card)
    fields: dict[str, Any] = {
        "name": spec.name,
        "repo": spec.repo,
        "kind": kind,
        "outputs": outputs,
        "languages": languages,
        "pooling": "last" if kind == "embedding" and _architecture(config).endswith("ForCausalLM") else None,
        "normalized": any(module.rpartition(".")[2] == "Normalize" for module in _modules(folder)),
        "prompts": prompts,
        "default_prompt": default if default in prompts else None,
        "tokenizer": Tokenizer(
            backend="bert-japanese" if japanese_bert else "auto", lower_case=lower_case and not japanese_bert
        ),
        "requires": ("fugashi", "unidic_lite") if japanese_bert else (),
        "license": licence,
        "commercial": _allows_commerce(licence),
        "from_repository": True,
    }
    return ModelSpec.model_validate(fields)


def _kind(spec: ModelSpec, folder: Path, sentence: dict[str, Any], config: dict[str, Any], card: dict[str, Any]) -> str:
    """Embedding or reranker."""
    saved = sentence.get("model_type")
    if _modules(folder) and saved not in (None, *_SAVED):
        raise ModelUnavailableError(f"{spec.repo} is a {saved}. Only embedding models and rerankers are supported.")
    if _modules(folder):
        return "reranker" if saved == "CrossEncoder" else "embedding"
    architecture = _architecture(config)
    if architecture.endswith("ForSequenceClassification"):
        labels = len(config.get("id2label") or {}) or int(config.get("num_labels") or 2)
        if labels != 1:
            raise ModelUnavailableError(f"{spec.repo} is a classifier of {labels} labels. A reranker must have one.")
        return "reranker"
    ranks = card.get("pipeline_tag") == "text-ranking" and architecture.endswith("ForCausalLM")
    return "reranker" if ranks else "embedding"


def _outputs(folder: Path, config: dict[str, Any], card: dict[str, Any]) -> tuple[Output, ...]:
    """What an embedding model returns; without modules, a masked language model is sparse if its card says so."""
    from importing.conversion.outputs import recognise  # imports torch

    found: tuple[Output, ...] = ("dense",)
    with contextlib.suppress(ValueError, KeyError):  # a damaged file; the import says what is wrong with it
        found = recognise(folder)
    tags = card.get("tags")
    tagged = isinstance(tags, list) and not _SPARSE_TAGS.isdisjoint(str(tag).lower() for tag in tags)
    if found == ("dense",) and tagged and not _modules(folder) and _architecture(config).endswith("ForMaskedLM"):
        return ("sparse",)
    return found


def _prompts(sentence: dict[str, Any]) -> dict[str, str]:
    """The prompts by name, with the document's under `document`; without empty ones, which change nothing."""
    given = sentence.get("prompts")
    prompts = {str(name): str(text) for name, text in given.items() if text} if isinstance(given, dict) else {}
    document = next((prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts), None)
    return prompts if document is None else prompts | {"document": document}


def _modules(folder: Path) -> list[str]:
    """Class names in modules.json; empty without that file."""
    content = _parsed(folder / "modules.json")
    return [str(module.get("type")) for module in content if isinstance(module, dict)]


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _card(folder: Path) -> dict[str, Any]:
    """The metadata at the head of the model card."""
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        parts = (folder / CARD).read_text(encoding="utf-8").split("---\n", 2)
        content = yaml.safe_load(parts[1]) if len(parts) == 3 else None
        return content if isinstance(content, dict) else {}
    return {}


def _licence(card: dict[str, Any]) -> str:
    licence = card.get("license")
    named = card.get("license_name") if licence == "other" else licence
    return str(named) if isinstance(named, str) else "unknown"


def _allows_commerce(licence: str) -> bool | None:
    name = licence.lower()
    if "-nc" in name or "noncommercial" in name or "non-commercial" in name:
        return False
    return True if name in _COMMERCIAL else None


def _languages(card: dict[str, Any]) -> tuple[str, ...]:
    given = card.get("language")
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return tuple(map(str, names)) if len(names) <= _LANGUAGES_SHOWN else ("multilingual",)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing or holds something else."""
    content = _parsed(path)
    return content if isinstance(content, dict) else {}


def _parsed(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return []
