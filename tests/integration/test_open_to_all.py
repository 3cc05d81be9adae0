"""A service without API keys: open to all clients and, with CORS_ORIGINS, to pages; the log has a warning."""

import sys

import pytest

from tests.errors import refused
from tests.integration.conftest import RunApp, _fresh_service, embed, ok

ORIGIN = "https://page.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
WARNING = "without API keys"
KEY = "sk-integration-one"


def test_cors_origins_star_allows_all_origins(run_app: RunApp) -> None:
    with run_app(CORS_ORIGINS="*") as app:
        answer = app.client.get("/models", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert app.client.options("/v1/rerank", headers=PREFLIGHT).status_code == 200


def test_by_default_no_key_is_needed_and_no_origin_allowed(run_app: RunApp, caplog: pytest.LogCaptureFixture) -> None:
    """The app's HOST is 0.0.0.0, although the tests' server listens on 127.0.0.1."""
    with run_app() as app:
        assert app.client.get("/metrics").status_code == 200
        assert "security" not in ok(app.client.get("/docs.json"))
        refused(app.client.options("/v1/embeddings", headers=PREFLIGHT), 405, "method_not_allowed")
        answer = app.client.get("/models", headers={"Origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert embed(app.client, ["a"], model="bge-m3")["model"] == "bge-m3"
    warnings = [record for record in caplog.records if WARNING in record.getMessage()]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "set API_KEYS, or HOST=127.0.0.1" in warnings[0].getMessage()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, True),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "::"}, True),
        ({"HOST": "0.0.0.0", "API_KEYS": KEY}, False),
        ({"HOST": "127.0.0.1"}, False),
        ({"HOST": "::1"}, False),
        ({"HOST": "192.0.2.1"}, False),
    ],
)
def test_open_to_all_by_host_and_keys(settings: dict[str, str], warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only imports service.py; no server listens."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "service", None)
    assert _fresh_service(monkeypatch).open_to_all is warned
