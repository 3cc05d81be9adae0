"""The pool that most tests of this folder use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.runners.pool.house import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    yield built
    await built.close()
