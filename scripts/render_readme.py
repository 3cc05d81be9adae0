"""Write the tables of README.md and docs/, in both languages, from the catalogue, the settings and the request schemas.

Exit status: 0 when all pages are up to date (or were written), 1 when `--check` finds a page that is not, or when
docs/ja.yaml does not match the English descriptions in the code.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from models.catalog import load_catalog
from scripts.readme.language import ENGLISH, TranslationError, japanese
from scripts.readme.tables import descriptions, tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": ["main settings"],
    "docs/api.md": ["embedding fields", "rerank fields"],
    "docs/models.md": ["rerankers", "embedding models"],
    "docs/settings.md": ["settings"],
}
"""English page -> the tables it has between marks."""
TRANSLATIONS = "docs/ja.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Write the tables, or with --check only report whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render_readme", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a table is out of date")
    check = parser.parse_args(arguments).check
    catalog = load_catalog()
    english = tables(catalog, ENGLISH)
    current = [_update(page, names, english, check=check) for page, names in PAGES.items()]
    try:
        in_japanese = tables(catalog, japanese(ROOT / TRANSLATIONS, descriptions()))
    except TranslationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    current += [_update(translated(page), names, in_japanese, check=check) for page, names in PAGES.items()]
    return 0 if all(current) else 1


def translated(page: str) -> str:
    """The Japanese page of an English one: README.ja.md, or the page of the same name in docs/ja/."""
    return "README.ja.md" if page == "README.md" else page.replace("docs/", "docs/ja/")


def _update(page: str, names: list[str], rendered_tables: Mapping[str, str], *, check: bool) -> bool:
    """Whether the page's tables are now up to date; without `check` they are written."""
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    rendered = render(page, text, {name: rendered_tables[name] for name in names})
    if rendered == text:
        return True
    if check:
        sys.stderr.write(f"{page}: its tables are out of date. Run: python -m scripts.render_readme\n")
        return False
    path.write_text(rendered, encoding="utf-8")
    return True


def render(page: str, text: str, tables: Mapping[str, str]) -> str:
    """Replace each table between `<!-- NAME -->` and `<!-- /NAME -->`; ValueError unless its marks are there once."""
    for name, table in tables.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{page} must have the marks of the table {name!r} once")
        text = pattern.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    sys.exit(main())
