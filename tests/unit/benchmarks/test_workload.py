"""The bodies are the same in every run, and what they claim to be."""

from __future__ import annotations

import hashlib
import json

import pytest

from benchmarks.rows import BULK, PAIR, ROWS, SINGLES, Row, bulk, many_models, singles
from benchmarks.workload import VARIANTS

PORTS = dict.fromkeys((*PAIR, *VARIANTS), 1)
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)


def test_bodies_never_change() -> None:
    """Figures of different days are compared: whoever changes the texts starts a new history and this digest."""
    digest = hashlib.sha256()
    for row in ROWS:
        for request in row.requests(PORTS):
            digest.update(request.body.encode())
    assert digest.hexdigest() == "4812a727a4d1336f5337fdc43838f5ede17eaa15ad03a5352ef94716543a0509"


@each_row
def test_a_rows_requests_match_its_work_in_process(row: Row) -> None:
    requests, plain = row.requests(PORTS), row.in_process()
    assert [request.items for request in requests] == [len(inputs) for inputs in plain]
    body = json.loads(requests[0].body)
    sent = body["input"] if row.kind == "embed" else [[body["query"], document] for document in body["documents"]]
    assert sent == plain[0]


@each_row
def test_a_row_has_a_request_for_every_connection(row: Row) -> None:
    assert row.kind == "rerank" or len(row.inputs) >= row.connections or row.inputs == BULK


def test_mixed_load_is_one_person_and_two_bulk_clients() -> None:
    assert (singles(PORTS).connections, bulk(PORTS).connections) == (1, 2)
    assert len(singles(PORTS).requests) == len(SINGLES)
    assert {request.items for request in bulk(PORTS).requests} == {512}


def test_every_model_of_many_is_asked() -> None:
    asked = {json.loads(request.body)["model"] for request in many_models(PORTS).requests}
    assert asked == set(VARIANTS)
