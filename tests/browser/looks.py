"""How a page is looked at: both languages, both themes and both sizes, each once with a sight of its own."""

from __future__ import annotations

import pytest

looks = pytest.mark.parametrize(
    ("lang", "theme", "phone"),
    [
        pytest.param("en", "light", False, id="en-light-wide"),
        pytest.param("ja", "dark", True, id="ja-dark-phone"),
    ],
)
