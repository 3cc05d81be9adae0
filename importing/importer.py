"""Import one model, from its name to files that can be served: locate, convert, verify, register, export."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from importing.download import Progress
from importing.registration import register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec
from models.goldens import goldens_of
from models.integrity import is_whole
from models.store import ModelStore, StoredModel
from runners.devices import detect
from runners.loading import needs_export, wants_openvino
from settings import Settings


def import_model(
    spec: ModelSpec, *, store: ModelStore, settings: Settings, progress: Progress, from_dir: Path | None = None
) -> StoredModel:
    """The stored model, imported now unless it is there already and whole; ModelUnavailableError says what failed."""
    stored = register_checkpoint(
        spec,
        store=store,
        settings=settings,
        check=partial(_verify, settings=settings),
        progress=progress,
        from_dir=from_dir,
    )
    export_for_openvino(spec, stored, settings)
    return stored


def _verify(spec: ModelSpec, stored: StoredModel, *, settings: Settings) -> None:
    verify(spec, stored, settings, goldens_of(spec.name))


def export_for_openvino(spec: ModelSpec, stored: StoredModel, settings: Settings) -> None:
    """Convert for the CPU engine, which takes seconds to minutes and belongs here rather than into a request.

    Torch serves a model that could not be converted: this never fails.
    """
    device = detect(settings)
    if not wants_openvino(device, settings):
        return
    from importing.export_child import export_apart  # needs OpenVINO, which only an image for CPUs has
    from runners.backends.openvino import export_folder, weights_for

    weights = weights_for(device.asked_dtype)
    folder = export_folder(stored.folder, weights)
    if not is_whole(folder, thorough=True):
        shutil.rmtree(folder, ignore_errors=True)
    if needs_export(stored, device, settings):
        export_apart(spec, stored, weights)
