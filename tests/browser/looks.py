"""Combinations of language, theme and size for screenshots; each value occurs at least once."""

from __future__ import annotations

import pytest

looks = pytest.mark.parametrize(
    ("lang", "theme", "phone"),
    [
        pytest.param("en", "light", False, id="en-light-wide"),
        pytest.param("ja", "dark", True, id="ja-dark-phone"),
    ],
)
