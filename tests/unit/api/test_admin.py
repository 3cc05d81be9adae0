"""Who may have models loaded: nobody without ADMIN, and no page of another site."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.routes import ENDPOINTS
from models.catalog import Catalog
from runners.loaded_model import InMemory, Status
from settings import load_settings
from tests.errors import refused
from tests.unit.api.apps import app_of
from tests.unit.fakes import spec

FAR = spec(name="far", repo="Cohere/far", kind="reranker", conversion="cohere")
HOST = "service.example:7987"


class FakePool:
    """Notes what it was asked for."""

    def __init__(self) -> None:
        self.catalog = Catalog([spec(), FAR])
        self.asked: list[tuple[str, str]] = []

    async def load(self, wanted: Any) -> None:
        self.asked.append(("load", wanted.name))

    async def unload(self, wanted: Any) -> None:
        self.asked.append(("unload", wanted.name))

    async def import_model(self, wanted: Any) -> None:
        self.asked.append(("import", wanted.name))

    async def statuses(self, wanted: Any) -> list[Status]:
        return [Status("ready") for _ in wanted]

    async def in_memory(self) -> dict[str, InMemory]:
        return {"tiny": InMemory("fake", 12, "float32", "float32")}


def client_of(**environment: str) -> TestClient:
    pool: Any = FakePool()
    context: Any = SimpleNamespace(pool=pool, catalog=pool.catalog, settings=load_settings(environment))
    app = app_of([endpoint.bind(context) for endpoint in ENDPOINTS if endpoint.setting == "admin"], **environment)
    client = TestClient(app, base_url=f"http://{HOST}")
    client.app_state["pool"] = pool
    return client


def asked(client: TestClient) -> list[tuple[str, str]]:
    pool: FakePool = client.app_state["pool"]
    return pool.asked


@pytest.mark.parametrize("act", ["load", "unload", "import"])
@pytest.mark.parametrize("name", ["tiny", spec().repo])
def test_by_short_and_by_full_name(act: str, name: str) -> None:
    client = client_of(ADMIN="true")
    answer = client.post(f"/models/{name}/{act}")
    assert (answer.status_code, answer.json()) == (200, {"id": "tiny", "state": "ready", "memory_bytes": 12})
    assert asked(client) == [(act, "tiny")]


@pytest.mark.parametrize("act", ["load", "unload", "import"])
def test_without_admin_it_is_refused(act: str) -> None:
    client = client_of()
    assert "ADMIN=true" in refused(client.post(f"/models/tiny/{act}"), 403, "forbidden")
    assert asked(client) == []


def test_pages_of_other_sites_may_not_even_where_cors_lists_them() -> None:
    client = client_of(ADMIN="true", CORS_ORIGINS="*")
    refused(client.post("/models/tiny/load", headers={"Origin": "http://evil.example"}), 403, "cross_site_request")
    assert asked(client) == []
    assert client.post("/models/tiny/load", headers={"Origin": f"http://{HOST}"}).status_code == 200


def test_what_cannot_be_done() -> None:
    client = client_of(ADMIN="true")
    refused(client.post("/models/nobody/load"), 404, "model_not_found", "model")
    refused(client.post("/models/far/import"), 400, "invalid_value")
    assert client.get("/models/tiny/load").status_code == 405
    assert asked(client) == []
