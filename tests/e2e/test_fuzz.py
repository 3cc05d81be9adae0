"""A short run of fuzz.py: arbitrary bytes cause no 5xx and no hang."""

from tests.programs import fuzz
from tests.serving import Served

SECONDS = 5


def test_arbitrary_bytes_cause_no_server_error(served: Served) -> None:
    report = fuzz.run(served.url, SECONDS, seed=1, pid=None)
    assert report["wrong"] == [], report
    assert report["requests"] > 100
    assert {"200", "400"} <= report["statuses"].keys()
