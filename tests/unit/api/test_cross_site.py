"""A page of another site may not have a model imported, which it may not ask for by its own route either."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from api.cross_site import may_import, note_origin
from api.dialects import openai
from api.routing import Request, Route
from api.work import Work
from errors import CrossSiteError
from models.catalog import Catalog
from settings import load_settings
from tests.errors import refused
from tests.unit.api.apps import app_of
from tests.unit.fakes import spec

HOST = "service.example:7987"
OWN, OTHER, NAMED = f"http://{HOST}", "https://evil.example", "https://app.example"

ALLOWED: list[dict[str, str]] = [
    {},  # a program
    {"user-agent": "python-httpx/0.28", "sec-fetch-mode": "cors"},  # Node's fetch sends this one
    {"sec-fetch-site": "same-origin", "origin": OWN},
    {"sec-fetch-site": "none"},
    {"origin": OWN},
    {"origin": f"https://{HOST}"},  # behind a proxy that ends TLS
    {"sec-fetch-site": "cross-site", "origin": NAMED},
    {"origin": NAMED},
]
REFUSED: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site", "origin": OTHER},
    {"sec-fetch-site": "same-site", "origin": "http://other.service.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site", "origin": OWN},
    {"origin": OTHER},
    {"origin": "null"},
    {"origin": "http://service.example:8080"},
    {"origin": f"{NAMED}.evil.example"},
]


def allowed(headers: dict[str, str], *origins: str) -> bool:
    note_origin(Headers({"host": HOST} | headers), origins)
    return may_import()


@pytest.mark.parametrize("headers", ALLOWED, ids=str)
def test_programs_and_known_pages_may(headers: dict[str, str]) -> None:
    assert allowed(headers, NAMED)


@pytest.mark.parametrize("headers", REFUSED, ids=str)
def test_pages_of_other_sites_may_not(headers: dict[str, str]) -> None:
    assert not allowed(headers, NAMED)


def test_a_service_for_all_pages_is_one_for_all_pages() -> None:
    assert allowed({"sec-fetch-site": "cross-site", "origin": OTHER}, "*")


class Pool:
    """Where every model would have to be imported."""

    catalog = Catalog([spec(), spec(name="ranks", repo="acme/Ranks", kind="reranker")])

    @contextlib.asynccontextmanager
    async def use(self, wanted: Any, *, may_import: bool) -> AsyncIterator[Any]:
        raise CrossSiteError("may not") if not may_import else NotImplementedError
        yield


def client_of(**settings: str) -> TestClient:
    pool: Any = Pool()
    work = Work(pool, load_settings(settings))

    async def handle(request: Request) -> Response:
        route = request.params["name"]
        with contextlib.suppress(NotImplementedError):
            if route == "embed":
                await openai.embed(work, openai.EmbeddingRequest.model_validate({"model": "tiny", "input": "a"}))
            elif route == "rank":
                body = openai.RerankRequest.model_validate({"model": "ranks", "query": "a", "documents": ["b"]})
                await openai.rerank(work, body, client=None)
            else:
                await openai.tokenize(work, openai.TokenizeRequest.model_validate({"model": "tiny", "input": "a"}), {})
        return JSONResponse("an import would start now")

    return TestClient(app_of([Route("POST", "/{name}", handle)], **settings), base_url=OWN)


@pytest.mark.parametrize("route", ["embed", "rank", "count"])
def test_every_way_to_a_model_knows_where_the_request_is_from(route: str) -> None:
    client = client_of(CORS_ORIGINS=NAMED)
    page = {"content-type": "text/plain", "sec-fetch-site": "cross-site", "origin": OTHER}
    refused(client.post(f"/{route}", headers=page), 403, "cross_site_request")
    assert client.post(f"/{route}", headers=page | {"origin": NAMED}).status_code == 200
    assert client.post(f"/{route}").status_code == 200
