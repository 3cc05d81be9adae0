"""The requests that an application made, and the comparison of its numbers with sentence-transformers."""

from collections import Counter

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.applications.programs.given import Given, Report
from tests.applications.table import Application
from tests.clients import expected
from tests.serving import http_get
from tests.tolerance import FLOAT32

Calls = Counter[tuple[str, str]]
"""(route, status) -> number of requests."""
RERANK_ROUTES = {"/v1/rerank", "/v2/rerank", "/rerank"}
_OWN_ROUTES = {"/metrics", "/readyz"}


def calls(given: Given) -> Calls:
    """All requests that the service has answered so far, except those of this program."""
    text = http_get(f"{given.url}/metrics", headers={"Authorization": f"Bearer {given.key}"}).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    counted: Calls = Counter()
    for sample in samples:
        if sample.name == "service_requests_total" and sample.labels["route"] not in _OWN_ROUTES:
            counted[sample.labels["route"], sample.labels["status"]] += int(sample.value)
    return counted


def check(application: Application, given: Given, report: Report, made: Calls) -> list[str]:
    """What was compared: order, vectors, scores. AssertionError if something differs, or if a request was refused."""
    refused = {call: number for call, number in made.items() if not call[1].startswith("2")}
    assert not refused, f"the service refused requests: {refused}"
    routes = {route for route, _ in made}
    assert any("embed" in route for route in routes), "the application embedded nothing"
    assert not application.reranks or routes & RERANK_ROUTES, "the application reranked nothing"

    scores = dict(zip(given.documents, expected.scores(given.query, given.documents), strict=True))
    best_first = sorted(scores, key=lambda text: -scores[text])
    assert report.found, "the application found nothing"
    assert report.found == best_first[: len(report.found)], f"the application found {report.found}"
    compared = ["order"]
    if report.vectors is not None:
        np.testing.assert_allclose(report.vectors, expected.vectors(given.documents), rtol=0, atol=FLOAT32)
        compared.append("vectors")
    if report.ranking is not None:
        theirs = [scores[text] for text, _ in report.ranking]
        np.testing.assert_allclose([score for _, score in report.ranking], theirs, rtol=0, atol=FLOAT32)
        compared.append("scores")
    return compared
