"""Write README.md's tables anew from what they describe: the catalogue, the settings and the request schemas.

Exit status: 0 when README.md is up to date (or was written), 1 when `--check` finds that it is not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel

from api.schemas import EmbeddingRequest, RerankRequest
from models.catalog import Catalog, ModelSpec, load_catalog
from models.goldens import goldens_of
from settings import Settings

README = Path(__file__).resolve().parent.parent / "README.md"
NONE = "–"
"""Nothing to say in this cell."""

_MADE_READY = {
    "native": "as published",
    "jina_v2_flash": "tensors renamed",
    "gte": "config translated",
    "jina_bert": "own module",
    "nv_embed": "own module",
    "cohere": "forwarded",
}


def main(arguments: list[str] | None = None) -> int:
    """Write the tables, or with --check only say whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render_readme", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a table is out of date")
    options = parser.parse_args(arguments)
    text = README.read_text(encoding="utf-8")
    rendered = render(text, load_catalog())
    if rendered == text:
        return 0
    if options.check:
        sys.stderr.write("README.md: its tables are out of date. Run: python -m scripts.render_readme\n")
        return 1
    README.write_text(rendered, encoding="utf-8")
    return 0


def render(text: str, catalog: Catalog) -> str:
    """The same text with every table between `<!-- NAME -->` and `<!-- /NAME -->` replaced; ValueError where one
    pair of marks is missing."""
    tables = {
        "rerankers": _models([spec for spec in catalog if spec.kind == "reranker"]),
        "embedding models": _models([spec for spec in catalog if spec.kind == "embedding"]),
        "settings": _settings(),
        "embedding fields": _fields(EmbeddingRequest),
        "rerank fields": _fields(RerankRequest),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"README.md must have the marks of the table {name!r} once")
        text = pattern.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return text


def _models(specs: list[ModelSpec]) -> str:
    vectors = any(spec.kind == "embedding" for spec in specs)
    head = ["Short name", "Full name", "Languages", "Tokens", *(["Dimensions"] if vectors else [])]
    head += ["Download", "Licence", "Extras", "Made ready", "Checked"]
    rows = [
        [
            f"`{spec.name}`",
            spec.repo,
            ", ".join(spec.languages) or NONE,
            str(spec.max_tokens or NONE),
            *([str(spec.dimensions or NONE)] if vectors else []),
            NONE if spec.forwarded else _size(spec.download_bytes),
            spec.license + (" **(non-commercial)**" if spec.commercial is False else ""),
            ", ".join(module.replace("_", "-") for module in spec.requires) or NONE,
            f"package {spec.package.replace('_', '-')}" if spec.package else _MADE_READY[spec.conversion],
            _checked(spec),
        ]
        for spec in specs
    ]
    return _table(head, rows)


def _checked(spec: ModelSpec) -> str:
    if spec.verified:
        return "real weights"
    return "at import" if goldens_of(spec.name) else NONE


def _size(size: int | None) -> str:
    if size is None:
        return NONE
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        takes = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        shown = NONE if field.default in (None, ()) else f"`{default}`"
        rows.append([f"`{name.upper()}`", shown, f"{field.description}{takes}"])
    return _table(["Variable", "Default", "Meaning"], rows)


def _fields(schema: type[BaseModel]) -> str:
    rows = [
        [f"`{name}`", "yes" if field.is_required() else "no", str(field.description)]
        for name, field in schema.model_fields.items()
    ]
    return _table(["Field", "Required", "Meaning"], rows)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
