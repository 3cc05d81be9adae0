"""embeddings serve: BentoML's server with the settings of the environment."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import time
from pathlib import Path

from api.playground import playground_url
from cli.health import readyz
from cli.output import console
from cli.problems import refusing
from models.store import ModelStore
from settings import Settings, load_settings, set_environment
from startup import check_address

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_S = 900
_POLL_S = 0.3
_SMALL = "all-minilm-l6-v2"
"""The model that ./start.sh imports."""


def serve(host: str | None, port: int | None, *, as_json: bool) -> None:
    """Replace this process by BentoML's server; a child process prints how to use it when it is ready."""
    options = {"HOST": host, "PORT": port, "REQUEST_LOG": "json" if as_json else None}
    set_environment({name: str(value) for name, value in options.items() if value is not None})
    with refusing(as_json=False):
        settings = load_settings()
        check_address(settings.host, settings.port)  # else _announce would see the other service
    if not as_json:
        _announce(settings)
    os.chdir(ROOT)
    bento = [] if (ROOT / "bentofile.yaml").exists() else [str(ROOT.parent)]  # a Bento has its code in src
    bentoml = Path(sys.executable).with_name("bentoml")
    os.execv(bentoml, [str(bentoml), "serve", *bento])  # noqa: S606  # the same process, for signals


def _announce(settings: Settings) -> None:
    """Start a process, not a child of the server, that waits until the service is ready and says how to use it."""
    server = os.getpid()
    if os.fork():
        os.wait()
        return
    if os.fork() == 0:
        with contextlib.suppress(KeyboardInterrupt, OSError):
            if _becomes_ready(settings, server):
                console(stderr=True).print(instructions(settings, _model(settings)))
    os._exit(0)


def _becomes_ready(settings: Settings, server: int) -> bool:
    """Wait for the service; False if its process ends, or for too long."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        os.kill(server, 0)  # OSError if it has ended
        with contextlib.suppress(OSError, http.client.HTTPException):
            if readyz(settings) == 200:
                return True
    return False


def _model(settings: Settings) -> str:
    """A model that answers at once: the default if it is stored, otherwise the small one."""
    stored = {found.facts.repo.lower() for found in ModelStore().list()}
    return settings.embedding_model_name if settings.embedding_model_name.lower() in stored else _SMALL


def instructions(settings: Settings, model: str) -> str:
    """URLs and commands for a service that runs on this machine."""
    page = playground_url(settings.host, settings.port)
    url = page.rpartition("/")[0]
    key = " -H 'Authorization: Bearer YOUR_KEY'" if settings.keys else ""
    body = f'{{"model": "{model}", "input": "Hello"}}'
    lines = [
        "",
        f"The service is ready on {url}",
        "",
        *([f"  Playground   {page}"] if settings.playground else []),
        f"  Embed        curl {url}/v1/embeddings{key} -H 'Content-Type: application/json' -d '{body}'",
        f'  Rank         ./embeddings rank "a fruit" apple car pear --model {model}',
        "  Check        ./embeddings doctor",
        "  Stop         Ctrl+C",
        "",
    ]
    return "\n".join(lines)
