"""Loading and closing many models."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_closing(frozen_libraries: None) -> None:
    """All files here close models."""
