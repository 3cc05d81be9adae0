"""Builds the CPU image once, with scripts/build_image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MODEL
from tests.e2e.test_bundle import copy_sources
from tests.image.podman import Podman, missing
from tests.serving import child_environment

IMAGE, WITH_MODEL = "localhost/rerank-embedding:test", "localhost/rerank-embedding:with-model"


@pytest.fixture(scope="session")
def podman(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman with the base image. Only where this folder is named: the whole suite has no time to build an image."""
    named = any("tests/image" in argument for argument in pytestconfig.invocation_params.args)
    reason = missing() if named else "takes minutes; run it with: scripts/test tests/image"
    if reason is not None:
        pytest.skip(reason)
    with Podman.started(tmp_path_factory.mktemp("podman")) as podman:
        podman.provide_base()
        yield podman


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image without models."""
    return build(podman, tmp_path_factory.mktemp("builder"), "--tag", IMAGE)


@pytest.fixture(scope="session")
def image_with_model(image: str, podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with one model baked in."""
    return build(podman, tmp_path_factory.mktemp("builder"), "--tag", WITH_MODEL, "--model", MODEL)


def build(podman: Podman, folder: Path, *arguments: str) -> str:
    """Run scripts/build_image in a copy of the sources. Returns the name of the image."""
    (folder / "sources").mkdir()
    environment = child_environment(folder / "home", {"HOME": str(folder)})
    done = podman.execute("scripts/build_image", "cpu", *arguments, cwd=copy_sources(folder / "sources"), **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return arguments[1]
