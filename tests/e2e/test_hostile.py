"""The attacks of hostile.py that need only one model: no 5xx, and short texts still get responses."""

import pytest

from tests.programs import hostile
from tests.serving import Served


@pytest.mark.parametrize("name", ["many_tokens", "few_tokens", "many_fields", "low_priority"])
def test_hostile_requests_do_not_affect_others(served: Served, name: str) -> None:
    report = {name: hostile.launch(served, name, settle_s=0)}
    assert hostile.wrong(report) == [], report
