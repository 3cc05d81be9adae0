"""The README's table of clients names nothing that no test runs."""

from __future__ import annotations

import re

import pytest

from tests.unit.sources import ROOT

SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/clients").rglob("test*")))
SOURCES += (ROOT / "tests/e2e/test_bentoml_client.py").read_text(encoding="utf-8")


def rows(page: str) -> list[list[str]]:
    """Cells of the table whose rows name clients."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| openai"))
    return [line.strip("| ").split(" | ") for line in lines[start : lines.index("", start)]]


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_every_client_of_the_table_is_run_by_a_test(page: str) -> None:
    found = rows(page)
    assert len(found) > 5
    for client, _ in found:
        packages = re.findall(r"[a-z_]+(?:-[a-z]+)?", re.sub(r"`.*?`|\(.*?\)|（.*?）", "", client.lower()))
        for package in {name.replace("-", "_") for name in packages} - {"node"}:
            assert package in SOURCES.lower(), client
        for name in re.findall(r"`(\w+)`", client):
            assert re.search(rf"\b{name}\b", SOURCES), client
