"""Request /readyz from the service with the settings of this environment, without a proxy."""

from __future__ import annotations

import http.client
import ipaddress
import sys

from settings import load_settings

_TIMEOUT_S = 8


def main() -> int:
    """Exit status: 0 if the service is ready, otherwise 1."""
    settings = load_settings()
    address = ipaddress.ip_address(settings.host)
    host = {4: "127.0.0.1", 6: "::1"}[address.version] if address.is_unspecified else settings.host
    connection = http.client.HTTPConnection(host, settings.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return _say(f"no response from port {settings.port}: {error}", 1)
    return _say(f"/readyz returned {status}", 0 if status == 200 else 1)


def _say(text: str, code: int) -> int:
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
