"""Write the generated parts of the documentation (English and Japanese), the compose file and the Kubernetes ConfigMap.

They come from the settings, the catalogue, the routes and the request bodies. Each stands between two marks with its
name, such as `<!-- settings -->` and `<!-- /settings -->`.
Exit status: 0 if all files are up to date or were written; 1 if `--check` finds a file that is out of date, or if
docs/ja.yaml does not match the English texts in the code.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Set
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from models.catalog import load_catalog
from scripts.generate.tables import tables
from scripts.generate.variables import compose_variables, kubernetes_variables

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": ["main settings"],
    "docs/api.md": ["routes", "embedding fields", "rerank fields"],
    "docs/models.md": ["rerankers", "embedding models"],
    "docs/settings.md": ["settings"],
}
"""English page -> the tables on it. Its Japanese page has the same tables."""
VARIABLES = {"docker/service.yml": compose_variables, "deploy/kubernetes/base/settings.yaml": kubernetes_variables}
"""File -> a function that generates its part `settings` from the text of the file."""
TRANSLATIONS = "docs/ja.yaml"


class TranslationError(ValueError):
    """docs/ja.yaml does not match the English texts; one line for each difference."""


def main(arguments: list[str] | None = None) -> int:
    """Write the generated parts, or with --check only report whether they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    catalog = load_catalog()
    texts: dict[str, str] = {}
    english = tables(catalog, lambda text: texts.setdefault(text, text))
    current = [_update(page, {name: english[name] for name in names}, check=check) for page, names in PAGES.items()]
    for file, variables in VARIABLES.items():
        part = variables((ROOT / file).read_text(encoding="utf-8"))
        current.append(_update(file, {"settings": part}, check=check))
    try:
        japanese = tables(catalog, _translations(texts.keys()).__getitem__)
        for page, names in PAGES.items():
            current.append(_update(translated(page), {name: japanese[name] for name in names}, check=check))
    except TranslationError as error:
        sys.stderr.write(f"{error}\n")
        current.append(False)
    return 0 if all(current) else 1


def translated(page: str) -> str:
    """The Japanese version of an English page: README.ja.md, or the same name in docs/ja/."""
    return "README.ja.md" if page == "README.md" else page.replace("docs/", "docs/ja/")


def _translations(texts: Set[str]) -> dict[str, str]:
    """English text -> Japanese; TranslationError unless docs/ja.yaml has exactly the given texts."""
    try:
        loaded = yaml.safe_load((ROOT / TRANSLATIONS).read_text(encoding="utf-8"))
        found = TypeAdapter(dict[str, str]).validate_python(loaded)
    except (yaml.YAMLError, ValidationError) as error:
        raise TranslationError(f"{TRANSLATIONS} cannot be read: {error}") from error
    problems = [f"{TRANSLATIONS}: add a translation of: {text}" for text in texts if not found.get(text)]
    problems += [
        f"{TRANSLATIONS}: remove this text, which is no longer used: {text}" for text in found if text not in texts
    ]
    if problems:
        raise TranslationError("\n".join(problems))
    return found


def _update(file: str, parts: Mapping[str, str], *, check: bool) -> bool:
    """Whether the file's generated parts are up to date. Without `check`, they are written first."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8")
    rendered = render(file, text, parts)
    if rendered == text:
        return True
    if check:
        sys.stderr.write(f"{file} is out of date. Run: python -m scripts.generate\n")
        return False
    path.write_text(rendered, encoding="utf-8")
    return True


def render(file: str, text: str, parts: Mapping[str, str]) -> str:
    """Replace each part between its two marks; ValueError unless the file has the marks exactly once."""
    for name, part in parts.items():
        found = list(re.finditer(rf"<!-- {name} -->\n(.*?)[# ]*<!-- /{name} -->", text, re.DOTALL))
        if len(found) != 1:
            raise ValueError(f"{file} must have the marks <!-- {name} --> and <!-- /{name} --> once")
        start, end = found[0].span(1)
        text = text[:start] + part + text[end:]
    return text


if __name__ == "__main__":
    sys.exit(main())
