"""Import one model in a child process, so that its memory is returned and a crash does not affect the service.

`python -m importing.child NAME` is the child; it prints JSON lines: `progress` from 0 to 1, or `error`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import ModelNotFoundError, ModelUnavailableError
from models.catalog import CatalogError, ModelSpec
from settings import SettingsError, bentoml_home, load_settings
from startup import StartError, check_home

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", __name__)
SILENCE_LIMIT_S = 10_800.0
"""A child that prints nothing for this long is killed. A download prints twice a second; converting and verifying the
largest models of the catalogue takes minutes, and the export has its own, shorter limit (export_child.py)."""


async def import_in_child(
    spec: ModelSpec,
    report: Callable[[float], None],
    *,
    command: Sequence[str | Path] = COMMAND,
    silence_limit_s: float = SILENCE_LIMIT_S,
) -> None:
    """Import one model in a child process; raise ModelUnavailableError with the reason if it fails or hangs.

    Cancellation kills the child; downloaded data is kept for the next attempt.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        spec.repo if spec.from_repository else spec.name,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # a library may print long lines
    )
    assert process.stdout is not None
    reason = ""
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(silence_limit_s) as limit:
            async for line in process.stdout:
                limit.reschedule(clock() + silence_limit_s)
                event = _parse_event(line)
                if "progress" in event:
                    report(float(str(event["progress"])))
                reason = str(event.get("error", reason))
            status = await process.wait()
    except TimeoutError:
        raise ModelUnavailableError(
            f"The import of {spec.name} made no progress for {silence_limit_s:g} s and was stopped. Try again."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()  # else it stays as a zombie
    if status != 0:
        raise ModelUnavailableError(
            reason
            or f"The import of {spec.name} ended with status {status}; a common cause is lack of memory. See the log."
        )


def _parse_event(line: bytes) -> dict[str, object]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}  # output of a library
    return event if isinstance(event, dict) else {}


def main() -> int:
    """Run the child; exit status 0, 1 if the import failed, 2 if the settings are wrong."""
    from importing.importer import import_model  # the service does not need these
    from models.store import ModelStore, open_catalog

    (name,) = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = load_settings()
        store = ModelStore()
        spec = open_catalog(settings, store).get_or_unlisted(name)
        check_home(bentoml_home(), imports=False)
        import_model(spec, store=store, settings=settings, progress=write_progress)
    except (SettingsError, CatalogError, ModelNotFoundError, StartError, ModelUnavailableError) as error:
        write_event({"error": str(error)})
        return 1 if isinstance(error, StartError | ModelUnavailableError) else 2
    return 0


def write_progress(done: int, total: int) -> None:
    """Print a progress line for the parent process."""
    write_event({"progress": done / total if total else 1.0})


def write_event(event: dict[str, object]) -> None:
    """Print one JSON object as a line."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
