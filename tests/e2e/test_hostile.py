"""Attacks of hostile.py that need one model only: no 5xx, and short texts are answered. All of them are for people."""

import pytest

from tests.programs import hostile
from tests.serving import Served


@pytest.mark.parametrize("name", ["many_tokens", "few_tokens", "many_fields", "low_priority"])
def test_one_request_does_not_hurt_the_others(served: Served, name: str) -> None:
    report = {name: hostile.launch(served, name, settle_s=0)}
    assert hostile.wrong(report) == [], report
