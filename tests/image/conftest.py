"""Builds the image of a platform once, with scripts/build_image, and a model in a layer of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MODEL
from tests.e2e.test_bundle import copy_sources
from tests.image.podman import Podman, missing
from tests.serving import child_environment, copy_home
from tests.variant import DTYPE, IMAGE_PLATFORM, THREADS

TAG = "localhost/rerank-embedding:test"


@dataclass(frozen=True)
class Images:
    """What scripts/build_image made."""

    without_model: str
    with_model: str


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman with the base image."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with Podman.started() as podman:
        podman.provide_base()
        yield podman


@pytest.fixture(scope="session")
def images(podman: Podman, imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The image with a model in it, and the image on which it is based."""
    folder = tmp_path_factory.mktemp("builder")
    (folder / "sources").mkdir()
    # the model in the store is converted for DTYPE and measured with THREADS
    settings = {"HOME": str(folder), "TMPDIR": str(podman.folder), "DTYPE": DTYPE, "CPU_THREADS": str(THREADS)}
    environment = child_environment(copy_home(imported, folder / "home"), settings)
    command = ("scripts/build_image", IMAGE_PLATFORM, "--tag", TAG, "--model", MODEL)
    done = podman.execute(*command, cwd=copy_sources(folder / "sources"), **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return Images(podman.inspect(TAG)["Parent"], TAG)
