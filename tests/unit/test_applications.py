"""docs/applications.md shows the last results of `python -m tests.applications`, and names every application."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.generate.__main__ import render, translated
from tests.applications.__main__ import summary
from tests.applications.results import PAGE, load, table
from tests.applications.table import APPLICATIONS
from tests.unit.sources import ROOT

PROGRAMS = ROOT / "tests/applications/programs"


def text(page: str) -> str:
    """A page of the documentation."""
    return Path(ROOT, page).read_text(encoding="utf-8")


def test_every_application_has_a_program_and_a_result_of_its_version() -> None:
    assert [(each.application, each.version) for each in load()] == [(each.name, each.version) for each in APPLICATIONS]
    assert not [each.program for each in APPLICATIONS if not (PROGRAMS / f"{each.program}.py").is_file()]


@pytest.mark.parametrize("page", [PAGE, translated(PAGE)])
def test_the_page_shows_the_results_and_the_settings(page: str) -> None:
    assert render(page, text(page), {"applications": table(page, load())}) == text(page)
    settings = text(page).rpartition("<!-- /applications -->")[2]
    assert not [each.name for each in APPLICATIONS if each.name not in settings]


@pytest.mark.parametrize("page", [PAGE, translated(PAGE)])
def test_fields_that_are_environment_variables_are_those_of_the_run(page: str) -> None:
    """Except telemetry, which is turned off only for the run."""
    named = {name for each in APPLICATIONS for name, value in each.environment.items() if "{" in value}
    assert named
    assert not [name for name in named if f"`{name}`" not in text(page)]


def test_the_table_says_what_failed() -> None:
    result = load()[0]
    failed = type(result)("App", "1.0", {"/v1/embeddings": 2}, [], [], "it ended", "2026-01-02")
    assert table(PAGE, [failed]).splitlines()[-1] == "| App | 1.0 | 2 × `/v1/embeddings` |  | failed | 2026-01-02 |"


def test_numbers_that_differ_are_a_failure() -> None:
    with pytest.raises(AssertionError) as caught:
        np.testing.assert_allclose([1.0], [2.0])
    assert summary(caught.value).startswith("AssertionError: Not equal to tolerance")
