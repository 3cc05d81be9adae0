"""Import a model in a child process: its memory goes back to the system, and a crash takes nobody along."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from errors import ModelUnavailableError
from models.catalog import ModelSpec

ROOT = Path(__file__).resolve().parent.parent


async def import_in_child(spec: ModelSpec, report: Callable[[float], None]) -> None:
    """Run `scripts/import_models --json` for one model; ModelUnavailableError with its reason where it fails.

    A cancelled caller ends the child; what it had downloaded is kept for the next try.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.import_models",
        "--json",
        "--model",
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
