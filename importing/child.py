"""Import one model in a child process: its memory goes back to the system, and a crash takes nobody along.

`python -m importing.child NAME` is that process; it prints one JSON object a line: `progress` from 0 to 1, or `error`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import ModelNotFoundError, ModelUnavailableError
from models.catalog import CatalogError, ModelSpec, load_catalog
from settings import SettingsError, bentoml_home, load_settings
from startup import StartError, check_home

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", __name__)


async def import_in_child(
    spec: ModelSpec, report: Callable[[float], None], *, command: Sequence[str | Path] = COMMAND
) -> None:
    """Import one model in a child process; ModelUnavailableError with its reason where it fails.

    A cancelled caller ends the child; what it had downloaded is kept for the next try.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        spec.name,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # a library may print long lines
    )
    assert process.stdout is not None
    reason = ""
    try:
        async for line in process.stdout:
            event = _event(line)
            if "progress" in event:
                report(float(str(event["progress"])))
            reason = str(event.get("error", reason))
        code = await process.wait()
    except BaseException:  # cancelled, or what it prints cannot be read
        if process.returncode is None:
            process.terminate()
            await process.wait()  # a child that nobody waits for stays as a zombie
        raise
    if code != 0:
        raise ModelUnavailableError(
            reason
            or f"The import of {spec.name} ended with status {code}; out of memory is a usual cause. See the log."
        )


def _event(line: bytes) -> dict[str, object]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}  # a library printed something
    return event if isinstance(event, dict) else {}


def main() -> int:
    """In the child; exit status 0, 1 when the import failed, 2 when the settings are wrong."""
    from importing.importer import import_model  # the service has no need of it
    from models.store import ModelStore

    (name,) = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = load_settings()
        spec = load_catalog(settings.extra_catalog).get(name)
        check_home(bentoml_home(), imports=False)
        import_model(spec, store=ModelStore(), settings=settings, progress=write_progress)
    except (SettingsError, CatalogError, ModelNotFoundError) as error:
        write_event({"error": str(error)})
        return 2
    except StartError as error:
        write_event({"error": str(error)})
        return 1
    except ModelUnavailableError as error:
        write_event({"error": error.message})
        return 1
    return 0


def write_progress(done: int, total: int) -> None:
    """Tell who started this process how far the import is."""
    write_event({"progress": done / total if total else 1.0})


def write_event(event: dict[str, object]) -> None:
    """One JSON object a line, for programs."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
