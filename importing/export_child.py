"""Convert a model for OpenVINO in a process of its own: if that dies, torch serves the model.

`python -m importing.export_child` is that process; it reads what to convert as JSON from its standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from importing import disk
from models.catalog import ModelSpec
from models.facts import ModelFacts
from models.store import StoredModel
from runners.backends.openvino import Weights, give_up_export

logger = logging.getLogger("service.models")

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", __name__)
_PR_SET_PDEATHSIG = 1


class Order(BaseModel, frozen=True):
    """What to convert."""

    parent: int
    """Process that waits."""
    folder: Path
    spec: ModelSpec
    facts: ModelFacts
    weights: Weights


def export_apart(
    spec: ModelSpec, stored: StoredModel, weights: Weights, *, command: Sequence[str | Path] = COMMAND
) -> None:
    """Convert a stored model in a child process.

    Where the child is killed (a conversion needs much memory) or fails, the reason goes into the report, and torch
    serves the model from then on. Where it could not write, there is no report, and the next import tries again.
    """
    order = Order(parent=os.getpid(), folder=stored.folder, spec=spec, facts=stored.facts, weights=weights)
    done = subprocess.run(command, input=order.model_dump_json(), text=True, cwd=ROOT, check=False)  # noqa: S603
    if done.returncode in (0, os.EX_IOERR):
        return
    reason = f"the conversion ended {_how(done.returncode)}"
    logger.warning(
        "%s is served by torch, as %s. To try again: scripts/import_models --remove --model %s, and import it anew.",
        spec.name,
        reason,
        spec.name,
    )
    with contextlib.suppress(OSError):  # without a report the next import tries again
        give_up_export(stored.folder, reason, weights)


def _how(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    return f"by signal {-status}{' (out of memory?)' if status == -signal.SIGKILL else ''}"


def main() -> int:
    """In the child."""
    order = Order.model_validate_json(sys.stdin.read())
    if sys.platform == "linux":  # an import that is killed must not leave this process behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != order.parent:
            return os.EX_IOERR
    return convert(order)


def convert(order: Order) -> int:
    """Convert in this process; the exit status."""
    from importing.openvino_export import export

    try:
        export(order.folder, order.spec, order.facts, order.weights)
    except OSError as error:
        what = f"the conversion of {order.spec.repo} for OpenVINO"
        reason = disk.write_problem(error, order.folder, order.facts.weight_bytes, what).message
        logger.warning("%s was not converted for OpenVINO, and torch serves it: %s", order.spec.name, reason)
        return os.EX_IOERR
    return 0


if __name__ == "__main__":
    sys.exit(main())
