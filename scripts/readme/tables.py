"""The tables themselves, from the catalogue, the settings and the request schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from api.schemas import EmbeddingRequest, RerankRequest
from models.catalog import Catalog, ModelSpec
from models.goldens import goldens_of
from scripts.readme.language import Language
from settings import Settings

NONE = "–"
"""An empty cell."""

_SCHEMAS: dict[str, type[BaseModel]] = {"embedding fields": EmbeddingRequest, "rerank fields": RerankRequest}

MAIN_SETTINGS = (
    "HOST",
    "PORT",
    "WORKERS",
    "EMBEDDING_MODEL_NAME",
    "RERANKER_MODEL_NAME",
    "PRELOAD_MODELS",
    "IMPORT_ON_DEMAND",
    "API_KEYS",
    "DEVICE",
    "DTYPE",
    "MEMORY_FRACTION",
    "REQUEST_TIMEOUT_S",
)
"""The settings that README.md lists; docs/settings.md lists all of them."""

_MADE_READY = {
    "native": "as published",
    "jina_v2_flash": "tensors renamed",
    "gte": "config translated",
    "jina_bert": "own module",
    "nv_embed": "own module",
    "cohere": "forwarded",
}


def tables(catalog: Catalog, language: Language) -> dict[str, str]:
    """Name of a table, as in its marks -> the table."""
    return {
        "rerankers": _models([spec for spec in catalog if spec.kind == "reranker"], language),
        "embedding models": _models([spec for spec in catalog if spec.kind == "embedding"], language),
        "settings": _settings([name.upper() for name in Settings.model_fields], language),
        "main settings": _settings(MAIN_SETTINGS, language),
    } | {name: _fields(name, language) for name in _SCHEMAS}


def descriptions() -> dict[str, dict[str, str]]:
    """Table -> setting or field -> its English description: what a translation has to cover."""
    settings = {name.upper(): str(field.description) for name, field in Settings.model_fields.items()}
    return {"settings": settings} | {
        table: {name: str(field.description) for name, field in schema.model_fields.items()}
        for table, schema in _SCHEMAS.items()
    }


def _models(specs: list[ModelSpec], language: Language) -> str:
    vectors = any(spec.kind == "embedding" for spec in specs)
    word = language.word
    head = ["Short name", "Full name", "Languages", "Tokens", *(["Dimensions"] if vectors else [])]
    head += ["Download", "Licence", "Extras", "Made ready", "Checked"]
    rows = [
        [
            f"`{spec.name}`",
            spec.repo,
            ", ".join(word(code) if code == "multilingual" else code for code in spec.languages) or NONE,
            str(spec.max_tokens or NONE),
            *([str(spec.dimensions or NONE)] if vectors else []),
            NONE if spec.forwarded else _size(spec.download_bytes),
            spec.license + (f" **{word('(non-commercial)')}**" if spec.commercial is False else ""),
            ", ".join(module.replace("_", "-") for module in spec.requires) or NONE,
            word("package {}").format(spec.package.replace("_", "-"))
            if spec.package
            else word(_MADE_READY[spec.conversion]),
            _checked(spec, language),
        ]
        for spec in specs
    ]
    return _table(head, rows, language)


def _checked(spec: ModelSpec, language: Language) -> str:
    if spec.verified:
        return language.word("real weights")
    return language.word("at import") if goldens_of(spec.name) else NONE


def _size(size: int | None) -> str:
    if size is None:
        return NONE
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _settings(names: Iterable[str], language: Language) -> str:
    rows = []
    for name in names:
        field = Settings.model_fields[name.lower()]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        listed = language.word(", ").join(f"`{choice}`" for choice in choices)
        takes = language.word(" One of {}.").format(listed) if choices else ""
        shown = NONE if field.default in (None, ()) else f"`{_as_variable(field.default)}`"
        rows.append([f"`{name}`", shown, language.describe("settings", name, str(field.description)) + takes])
    return _table(["Variable", "Default", "Meaning"], rows, language)


def _as_variable(value: object) -> str:
    """A default as the environment variable would say it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields(table: str, language: Language) -> str:
    rows = [
        [
            f"`{name}`",
            language.word("yes" if field.is_required() else "no"),
            language.describe(table, name, str(field.description)),
        ]
        for name, field in _SCHEMAS[table].model_fields.items()
    ]
    return _table(["Field", "Required", "Meaning"], rows, language)


def _table(head: list[str], rows: Iterable[list[str]], language: Language) -> str:
    lines = [
        [language.word(title) for title in head],
        ["---"] * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
