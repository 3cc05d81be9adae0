"""Import one model, from its name to files that can be served: locate, convert, verify, register, export."""

from __future__ import annotations

import shutil
from pathlib import Path

from importing.describe import describe
from importing.download import Progress
from importing.registration import register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec
from models.facts import Verification
from models.goldens import goldens_of
from models.integrity import is_whole
from models.store import ModelStore, StoredModel
from runners.devices import detect
from runners.loading import needs_export, wants_openvino
from settings import Settings


def import_model(
    spec: ModelSpec, *, store: ModelStore, settings: Settings, progress: Progress, from_dir: Path | None = None
) -> StoredModel:
    """Return the stored model, importing it unless the store has it intact; ModelUnavailableError if that fails."""

    def check(spec: ModelSpec, stored: StoredModel) -> Verification:
        return verify(spec, stored, settings, goldens_of(spec.name))

    stored = register_checkpoint(
        spec,
        store=store,
        settings=settings,
        check=check,
        progress=progress,
        from_dir=from_dir,
        complete=describe if spec.from_repository else lambda spec, _: spec,
    )
    export_for_openvino(spec, stored, settings)
    return stored


def export_for_openvino(spec: ModelSpec, stored: StoredModel, settings: Settings) -> None:
    """Convert a model for the CPU engine and measure it. Takes seconds to minutes: done at import, not at a request.

    Never fails: torch serves a model that cannot be converted.
    """
    device = detect(settings)
    if not wants_openvino(device, settings):
        return
    from importing.export_child import export_in_child  # needs OpenVINO, which only images for CPUs contain
    from runners.backends.openvino import export_folder, weights_for

    folder = export_folder(stored.folder, weights_for(device.requested_dtype))
    if not is_whole(folder, thorough=True):
        shutil.rmtree(folder, ignore_errors=True)
    if needs_export(stored, device, settings):
        export_in_child(spec, stored, device, torch=settings.backend == "auto")
