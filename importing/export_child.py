"""Convert a model for OpenVINO and measure its speed in a child process; if it dies or hangs, torch serves the model.

`python -m importing.export_child` is the child; it reads an ExportJob as JSON from standard input.
"""

from __future__ import annotations

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
from runners.backends.openvino import Weights, record_failed_export, weights_for
from runners.devices import Device

logger = logging.getLogger("service.models")

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", __name__)
LIMIT_S = 7200.0
"""A conversion that takes longer is killed. XLM-R base takes 14 s, the largest models take minutes."""
_PR_SET_PDEATHSIG = 1


class ExportJob(BaseModel, frozen=True):
    """What to convert, and for which parent process."""

    parent: int
    folder: Path
    spec: ModelSpec
    facts: ModelFacts
    device: Device
    torch: bool
    """Whether torch may serve the model even if it was converted."""

    @property
    def weights(self) -> Weights:
        """Of the export."""
        return weights_for(self.device.requested_dtype)


def export_in_child(
    spec: ModelSpec,
    stored: StoredModel,
    device: Device,
    *,
    torch: bool = True,
    command: Sequence[str | Path] = COMMAND,
    limit_s: float = LIMIT_S,
) -> None:
    """Convert a stored model in a child process.

    If the child is killed (a conversion needs much memory), hangs or fails, the report records the reason and torch
    serves the model from then on. If the child cannot write, there is no report and the next import tries again.
    """
    job = ExportJob(parent=os.getpid(), folder=stored.folder, spec=spec, facts=stored.facts, device=device, torch=torch)
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            command, input=job.model_dump_json(), text=True, cwd=ROOT, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:  # `run` has killed the child
        reason = f"the conversion did not finish within {limit_s:g} s"
    else:
        if done.returncode in (0, os.EX_IOERR):
            return
        reason = f"the conversion ended {_describe(done.returncode)}"
    try:
        failed = record_failed_export(stored.folder, reason, job.weights)
    except OSError:  # without a report the next import tries again
        failed = True
    if not failed:  # the child, or that of another process, had converted it
        logger.warning("the speed of %s was not measured: %s", spec.name, reason)
        return
    logger.warning(
        "%s %s: %s. To try again, run ./embeddings remove %s and import it again.",
        spec.name,
        _consequence(job.weights),
        reason,
        spec.name,
    )


def _consequence(weights: Weights) -> str:
    return "cannot be served with DTYPE=int8" if weights == "int8" else "is served by torch"


def _describe(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    return f"by signal {-status}{' (out of memory?)' if status == -signal.SIGKILL else ''}"


def main() -> int:
    """Run the child; return its exit status."""
    job = ExportJob.model_validate_json(sys.stdin.read())
    if sys.platform == "linux":  # an import that is killed must not leave this process behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != job.parent:
            return os.EX_IOERR
    return convert(job)


def convert(job: ExportJob) -> int:
    """Convert in this process; return the exit status."""
    from importing.openvino_export import export

    try:
        export(job.folder, job.spec, job.facts, job.weights)
    except OSError as error:
        what = f"the conversion of {job.spec.repo} for OpenVINO"
        reason = disk.write_error(error, job.folder, job.facts.weight_bytes, what).message
        consequence = _consequence(job.weights)
        logger.warning("%s was not converted for OpenVINO and %s: %s", job.spec.name, consequence, reason)
        return os.EX_IOERR
    _measure(job)
    return 0


def _measure(job: ExportJob) -> None:
    """Measure the speeds of a converted model, if that is worth it."""
    from importing.speed import measure_speeds
    from runners.backends.speed import needs_measuring

    try:
        if needs_measuring(job.folder, job.facts, job.device, torch=job.torch):
            measure_speeds(job.spec, StoredModel("exported", job.folder, job.facts), job.device, torch=job.torch)
    except (OSError, RuntimeError) as error:
        logger.warning("the speed of %s could not be measured: %s", job.spec.name, error)


if __name__ == "__main__":
    sys.exit(main())
