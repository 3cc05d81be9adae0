"""Links between README, CONTRIBUTING and docs/ resolve, the index lists all pages, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.image.podman import PACKAGES
from tests.unit.sources import ROOT

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
FOLDERS = (".", "docs", "docs/ja", "benchmarks", "examples")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
OUTSIDE = ("http://", "https://", "mailto:")
TEXT_FILES = (".md", ".py", ".yaml", ".yml", ".json", ".sh", "")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(page: Path) -> list[str]:
    """Relative links of a page, without those in code."""
    found = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if not link.startswith(OUTSIDE)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if (
            not target.is_relative_to(ROOT.resolve())
            or not target.exists()
            or (anchor and anchor not in anchors(target))
        ):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("folder", ["docs", "docs/ja"])
def test_the_index_lists_every_page(folder: str) -> None:
    index = ROOT / folder / "README.md"
    listed = {(index.parent / link).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent} - {index} <= listed


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_the_readme_is_short(readme: str) -> None:
    assert len((ROOT / readme).read_text(encoding="utf-8").splitlines()) <= 300


def test_contributing_names_files_that_exist() -> None:
    text = CODE.sub("", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    named = [
        span for span in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(r"[\w/.]+(?:/|\.py|\.yaml|\.yml|\.md)", span)
    ]
    assert len(named) > 20
    places = (ROOT, ROOT / "api", ROOT / "runners", ROOT / "models")
    assert not [path for path in named if not any((place / path).exists() for place in places)]


def test_pages_named_elsewhere_exist() -> None:
    """Code, compose files and manifests name pages as docs/PAGE.md."""
    places = ("api", "deploy", "docker", "models", "runners", "scripts", "benchmarks")
    files = [
        path for place in places for path in (ROOT / place).rglob("*") if path.suffix in TEXT_FILES and path.is_file()
    ]
    named = {
        (name(path), page)
        for path in files
        if ".cache" not in path.parts and "__pycache__" not in path.parts
        for page in re.findall(r"\bdocs/[\w/]+\.(?:md|yaml)", path.read_text(encoding="utf-8", errors="ignore"))
    }
    assert named
    assert not [(path, page) for path, page in named if not (ROOT / page).exists()]


@pytest.mark.parametrize("file", ["docs/deployment.md", "scripts/install"])
def test_what_the_tests_of_the_image_need_is_named(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert [package for package in PACKAGES if package not in text] == []


CLIENTS = ROOT / "tests/clients"
CLIENT_FILES = (*CLIENTS.glob("test_*.py"), *(CLIENTS / "javascript").glob("*.test.mjs"))
CLIENT_TESTS = "".join(path.read_text(encoding="utf-8") for path in CLIENT_FILES)
CLIENT_TESTS += (ROOT / "tests/e2e/test_bentoml_client.py").read_text(encoding="utf-8")


def client_rows(page: str) -> list[list[str]]:
    """Cells of the table whose rows name clients."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| openai"))
    return [line.strip("| ").split(" | ") for line in lines[start : lines.index("", start)]]


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "docs/clients.md", "docs/ja/clients.md"])
def test_every_client_of_the_table_is_run_by_a_test(page: str) -> None:
    found = client_rows(page)
    assert len(found) > 5
    for client, _ in found:
        packages = re.findall(r"[a-z_]+(?:-[a-z]+)?", re.sub(r"`.*?`|\(.*?\)|（.*?）", "", client.lower()))
        for package in {name.replace("-", "_") for name in packages} - {"node"}:
            assert package in CLIENT_TESTS.lower(), client
        for name in re.findall(r"`(\w+)`", client):
            assert re.search(rf"\b{name}\b", CLIENT_TESTS), client
