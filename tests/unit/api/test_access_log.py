"""One line and one set of numbers for each request, and never what a user sent."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest
from prometheus_client import REGISTRY
from starlette.responses import Response
from starlette.testclient import TestClient

from api import access_log
from api.access_log import record_model, record_result
from api.routing import Request, Route
from errors import InvalidRequestError
from runners.contracts import Timings
from tests.unit.api.apps import client_of

SECRET = "a user's own words"


async def work(request: Request) -> Response:
    """Pretends to have computed something."""
    if request.body == b"wrong":
        record_model("tiny")
        raise InvalidRequestError("wrong")
    await asyncio.sleep(0)
    record_result(model="tiny", texts=2, tokens=9, truncated=1, timings=Timings(0.001, 0.002, 0.003))
    return Response(SECRET)


async def fail(_: Request) -> Response:
    raise ValueError(SECRET)


def client(log: access_log.RequestLog = "text") -> TestClient:
    """A client of a small app."""
    routes = [
        Route("POST", "/work", work),
        Route("GET", "/fail", fail),
        Route("GET", "/livez", work, quiet=True),
    ]
    return client_of(routes, REQUEST_LOG=log)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the request logger has written so far."""
    found: list[str] = []
    keep = logging.Handler()
    monkeypatch.setattr(keep, "emit", lambda record: found.append(record.getMessage()))
    monkeypatch.setattr(access_log.logger, "handlers", [keep])
    monkeypatch.setattr(access_log.logger, "propagate", True)
    caplog.set_level(logging.INFO, logger=access_log.logger.name)  # forgets what earlier tests made it cache
    return found


def value(name: str, **labels: str) -> float:
    """A sample of ours; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_answer_says_where_the_time_went(lines: list[str]) -> None:
    answer = client().post("/work", content=SECRET)
    assert re.fullmatch(
        r"tokenize;dur=1\.00, queue;dur=2\.00, compute;dur=3\.00, total;dur=[\d.]+", answer.headers["server-timing"]
    )
    assert lines == [
        f"request_id={answer.headers['x-request-id']} method=POST route=/work status=200 "
        f"total_ms={re.search(r'total_ms=([0-9.]+)', lines[0])[1]} "  # type: ignore[index]  # the test fails on None
        "model=tiny texts=2 tokens=9 truncated=1 tokenize_ms=1.0 queue_ms=2.0 compute_ms=3.0"
    ]


def test_a_line_of_json_is_nothing_but_json(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tester = client("json")
    tester.post("/work", content=b"wrong", headers={"X-Request-Id": "mine-1"})
    (printed,) = capsys.readouterr().out.splitlines()
    line = json.loads(printed)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.pop("time"))
    assert line.pop("total_ms") > 0
    assert line == {
        "request_id": "mine-1",
        "method": "POST",
        "route": "/work",
        "status": 400,
        "model": "tiny",
        "error": "invalid_value",
    }


@pytest.mark.parametrize("given", ["my.trace:1-a_B", "x" * 128])
def test_a_clients_request_id_comes_back(given: str) -> None:
    assert client().post("/work", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", 'quote"', "a\tb", "日本"])
def test_an_id_that_could_break_a_line_is_replaced(given: str) -> None:
    made = client().post("/work", headers={b"X-Request-Id": given.encode()}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_probes_are_quiet_and_off_means_off(lines: list[str]) -> None:
    assert client().get("/livez").status_code == 200
    client("off").post("/work")
    assert lines == []


def test_paths_and_errors_say_nothing_of_the_user(lines: list[str]) -> None:
    tester = client()
    assert tester.get(f"/{SECRET}").status_code == 404
    answer = tester.get("/fail")
    assert answer.status_code == 500
    assert answer.headers["server-timing"].startswith("total;dur=")
    assert [re.search(r"route=(\S+) status=(\d+)", line).groups() for line in lines] == [  # type: ignore[union-attr]
        ("/unknown", "404"),
        ("/fail", "500"),
    ]
    assert SECRET not in "".join(lines)


def test_metrics_count_what_happened() -> None:
    before = {
        "requests": value("service_requests_total", route="/work", model="tiny", status="200"),
        "cuts": value("service_truncations_total", model="tiny"),
        "errors": value("service_errors_total", code="invalid_value"),
        "queue": value("service_stage_seconds_sum", stage="queue", model="tiny"),
    }
    tester = client("off")
    tester.post("/work")
    tester.post("/work", content=b"wrong")
    assert value("service_requests_total", route="/work", model="tiny", status="200") == before["requests"] + 1
    assert value("service_truncations_total", model="tiny") == before["cuts"] + 1
    assert value("service_errors_total", code="invalid_value") == before["errors"] + 1
    assert value("service_stage_seconds_sum", stage="queue", model="tiny") == pytest.approx(before["queue"] + 0.002)


def test_outside_a_request_nothing_is_noted() -> None:
    record_result(model="tiny", texts=1, tokens=1, truncated=0, timings=Timings())
    record_model("tiny")
