"""Requests to a running service, or to the same routes in this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

from corpus.client import LOCAL_URL, connection, error_message
from corpus.problems import CorpusError
from corpus.run import read_key


@dataclass(frozen=True)
class Server:
    """Where requests go: to a URL, or into this process without one."""

    url: str | None
    api_key_file: str | None

    def transport(self, *, as_json: bool) -> httpx.AsyncBaseTransport | None:
        """The routes in this process; None for a running service. Ends the command if the settings are wrong."""
        if self.url is not None:
            return None
        from cli.local import LocalTransport  # with it come the service's packages, which a client does not need
        from cli.problems import refusing
        from settings import bentoml_home, load_settings
        from startup import check_home

        with refusing(as_json=as_json):
            settings = load_settings()
            check_home(bentoml_home(), imports=settings.import_on_demand)
            return LocalTransport(settings)

    def post(self, path: str, body: dict[str, Any], *, as_json: bool) -> bytes:
        """The response of a route; CorpusError with the reason if there is none."""
        transport = self.transport(as_json=as_json)
        return asyncio.run(self._post(path, body, transport))

    async def _post(self, path: str, body: dict[str, Any], transport: httpx.AsyncBaseTransport | None) -> bytes:
        key = read_key(self.api_key_file)
        async with connection(self.url or LOCAL_URL, key, transport=transport) as http:
            try:
                response = await http.post(path, json=body)
            except httpx.TransportError as error:
                raise CorpusError(
                    f"{self.url} does not respond ({type(error).__name__}). Start the service, or leave out --url."
                ) from None
        if response.status_code != 200:
            hint = " Give a key with --api-key-file." if response.status_code == 401 else ""
            raise CorpusError(f"{error_message(response)}{hint}")
        return response.content


def texts_or_lines(texts: Sequence[str], file: Path | None = None) -> list[str]:
    """The texts of a command, else the lines of a file or of standard input that are not blank."""
    if texts:
        return list(texts)
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter("Give texts, or write one text per line to standard input.")
    try:
        content = file.read_text(encoding="utf-8") if file else sys.stdin.buffer.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file or 'Standard input'} cannot be read ({type(error).__name__}).") from None
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise typer.BadParameter(f"{file or 'Standard input'} contains no text.")
    return lines
