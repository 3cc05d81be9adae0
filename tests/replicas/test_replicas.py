"""Replicas are replaced, full, hung, cut off and killed: each request gets its answer, through each installed proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.replicas.network import missing
from tests.replicas.proxies import PROXIES
from tests.replicas.scenarios import FAULTS, Fleet, run

REQUESTS = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # nine starts of the service on a busy machine


@pytest.fixture(scope="module")
def results(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How all requests ended, by scenario and proxy."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with Fleet.started(imported, tmp_path_factory.mktemp("replicas")) as fleet:
        return run(fleet, REQUESTS)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_request_is_lost(fault: str, proxy: str, request: pytest.FixtureRequest) -> None:
    reason = PROXIES[proxy].missing()
    if reason is not None:
        pytest.skip(reason)
    found = request.getfixturevalue("results")[fault][proxy]
    assert found["sent"] >= REQUESTS
    assert found["ended"] == {"200": found["sent"]}
