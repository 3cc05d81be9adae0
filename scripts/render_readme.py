"""Write the tables of README.md and README.ja.md anew from the catalogue, the settings and the request schemas.

Exit status: 0 when both pages are up to date (or were written), 1 when `--check` finds that one is not, or when
docs/ja.yaml does not say in Japanese just what the code says in English.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from models.catalog import Catalog, load_catalog
from scripts.readme.language import ENGLISH, Language, TranslationError, japanese
from scripts.readme.tables import descriptions, tables

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
README_JA = ROOT / "README.ja.md"
TRANSLATIONS = ROOT / "docs" / "ja.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Write the tables, or with --check only say whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render_readme", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a table is out of date")
    check = parser.parse_args(arguments).check
    catalog = load_catalog()
    current = [_update(README, ENGLISH, catalog, check=check)]
    try:
        current.append(_update(README_JA, japanese(TRANSLATIONS, descriptions()), catalog, check=check))
    except TranslationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if all(current) else 1


def _update(page: Path, language: Language, catalog: Catalog, *, check: bool) -> bool:
    """Whether the page's tables are right now: always, unless it may only be checked."""
    text = page.read_text(encoding="utf-8")
    rendered = render(page.name, text, tables(catalog, language))
    if rendered == text:
        return True
    if check:
        sys.stderr.write(f"{page.name}: its tables are out of date. Run: python -m scripts.render_readme\n")
        return False
    page.write_text(rendered, encoding="utf-8")
    return True


def render(page: str, text: str, tables: Mapping[str, str]) -> str:
    """The same text with every table between `<!-- NAME -->` and `<!-- /NAME -->` replaced; ValueError where one
    pair of marks is missing."""
    for name, table in tables.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{page} must have the marks of the table {name!r} once")
        text = pattern.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    sys.exit(main())
