"""embeddings health: request /readyz from the service with the settings of this environment, without a proxy."""

from __future__ import annotations

import http.client
import ipaddress

from cli.output import fail, say
from settings import Settings, SettingsError, load_settings

_TIMEOUT_S = 8


def report(*, as_json: bool) -> int:
    """Exit status: 0 if the service is ready, 1 if not, 2 if a setting is wrong."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return fail(error, as_json=as_json, status=2)
    try:
        status = readyz(settings)
        text, ready = f"/readyz returned {status}", status == 200
    except (OSError, http.client.HTTPException) as error:
        text, ready = f"no response from port {settings.port}: {error}", False
    say(text, {"ready": ready, "detail": text}, as_json=as_json)
    return 0 if ready else 1


def readyz(settings: Settings) -> int:
    """The status of /readyz; OSError or HTTPException if there is no response."""
    address = ipaddress.ip_address(settings.host)
    host = {4: "127.0.0.1", 6: "::1"}[address.version] if address.is_unspecified else settings.host
    connection = http.client.HTTPConnection(host, settings.port, timeout=_TIMEOUT_S)
    connection.request("GET", "/readyz")
    return connection.getresponse().status
