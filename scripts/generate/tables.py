"""The tables of README.md and docs/, from the catalogue, the settings, the routes and the request bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from api.dialects.openai import EmbeddingRequest, RerankRequest
from api.routes import ENDPOINTS
from models.catalog import Catalog, ModelSpec
from models.goldens import goldens_of
from settings import GROUPS, Settings

Translate = Callable[[str], str]
"""English text -> the text in the language of the page."""

NONE = "–"
"""An empty cell."""

_MAIN_SETTINGS = (
    "host",
    "port",
    "workers",
    "embedding_model_name",
    "reranker_model_name",
    "preload_models",
    "import_on_demand",
    "api_keys",
    "device",
    "dtype",
    "memory_fraction",
    "request_timeout_s",
)
"""The settings in README.md; docs/settings.md has all of them."""

_MADE_READY = {
    "native": "as published",
    "jina_v2_flash": "tensors renamed",
    "gte": "config translated",
    "jina_bert": "own module",
    "nv_embed": "own module",
    "nomic_bert": "config translated",
    "cohere": "forwarded",
}


def tables(catalog: Catalog, say: Translate) -> dict[str, str]:
    """Name of a table in its marks -> the table."""
    return {
        "rerankers": _models([spec for spec in catalog if spec.kind == "reranker"], say),
        "embedding models": _models([spec for spec in catalog if spec.kind == "embedding"], say),
        "settings": _settings(Settings.model_fields, say, GROUPS),
        "main settings": _settings(_MAIN_SETTINGS, say, {}),
        "routes": _routes(say),
        "embedding fields": _fields(EmbeddingRequest, say),
        "rerank fields": _fields(RerankRequest, say),
    }


def _models(specs: list[ModelSpec], say: Translate) -> str:
    vectors = any(spec.kind == "embedding" for spec in specs)
    head = ["Short name", "Full name", "Languages", "Tokens", *(["Dimensions"] if vectors else [])]
    head += ["Download", "Licence", "Extras", "Made ready", "Checked"]
    rows = [
        [
            f"`{spec.name}`",
            spec.repo,
            ", ".join(say(code) if code == "multilingual" else code for code in spec.languages) or NONE,
            str(spec.max_tokens or NONE),
            *([str(spec.dimensions or NONE)] if vectors else []),
            NONE if spec.forwarded else _size(spec.download_bytes),
            spec.license + (f" **{say('(non-commercial)')}**" if spec.commercial is False else ""),
            ", ".join(module.replace("_", "-") for module in spec.requires) or NONE,
            say("package {}").format(spec.package.replace("_", "-"))
            if spec.package
            else say(_MADE_READY[spec.conversion]),
            say("real weights") if spec.verified else say("at import") if goldens_of(spec.name) else NONE,
        ]
        for spec in specs
    ]
    return _table(head, rows, say)


def _size(size: int | None) -> str:
    if size is None:
        return NONE
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _settings(names: Iterable[str], say: Translate, groups: dict[str, str]) -> str:
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        takes = say(" One of {}.").format(say(", ").join(f"`{choice}`" for choice in choices)) if choices else ""
        shown = f"`{default}`" if (default := as_variable(field.default)) else NONE
        if name in groups:
            rows.append([f"**{say(groups[name])}**", "", ""])
        rows.append([f"`{name.upper()}`", shown, say(str(field.description)) + takes])
    return _table(["Variable", "Default", "Meaning"], rows, say)


def as_variable(value: object) -> str:
    """A default as the value of an environment variable; empty for none."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _routes(say: Translate) -> str:
    rows = [[f"`{endpoint.method} {endpoint.path}`", say(endpoint.summary)] for endpoint in ENDPOINTS]
    return _table(["Route", "Returns"], rows, say)


def _fields(schema: type[BaseModel], say: Translate) -> str:
    rows = [
        [f"`{name}`", say("yes" if field.is_required() else "no"), say(str(field.description))]
        for name, field in schema.model_fields.items()
    ]
    return _table(["Field", "Required", "Meaning"], rows, say)


def _table(head: list[str], rows: Iterable[list[str]], say: Translate) -> str:
    lines = [
        [say(title) for title in head],
        ["---"] * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
