"""The bundle: built once by scripts/build_image with a stand-in for the container engine, then served by its own
entrypoint.sh, as its container would."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from numpy.testing import assert_allclose

from benchmarks.processes import free_port
from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.serving import (
    ROOT,
    Served,
    child_environment,
    copy_home,
    http_get,
    http_post,
    start_server,
    stop_server,
    wait_until_ready,
)
from tests.tolerance import openvino_precision, sum_atol, unit_atol
from tests.variant import DTYPE, THREADS

ENGINE = """#!/usr/bin/env bash
set -eu
printf '%s\\n' "$*" >> "$RECORD/calls"
case "$1" in
  version) echo '"28.0.0"' ;;
  build)
    for last; do :; done
    while [ $# -gt 0 ]; do
      if [ "$1" = --file ]; then cp "$2" "$RECORD/"; fi
      if [ "$1" = --iidfile ]; then echo sha256:0 > "$2"; fi
      shift
    done
    (cd "$last" && find . -type f) > "$RECORD/context" ;;
esac
"""
SECRET = "a-secret-of-the-builder"
PROXY = "http://proxy.example:3128"


@dataclass(frozen=True)
class Built:
    """The output of scripts/build_image: the Bento, and the calls of the container engine."""

    bento: Path
    home: Path
    record: Path

    @property
    def calls(self) -> list[str]:
        """The engine's command lines."""
        return (self.record / "calls").read_text(encoding="utf-8").splitlines()


def copy_sources(target: Path) -> Path:
    """Copy the files in git and link the environment: BentoML lists all files of a checkout."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


@pytest.fixture(scope="module")
def built(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The Bento for a CPU, and its image with one model."""
    folder = tmp_path_factory.mktemp("built")
    home = copy_home(imported, folder / "home")
    sources = copy_sources(folder / "sources")
    (folder / "bin").mkdir()
    (folder / "bin" / "docker").write_text(ENGINE, encoding="utf-8")
    (folder / "bin" / "docker").chmod(0o755)
    (folder / "record").mkdir()
    settings = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(folder / "record"),
        "DTYPE": DTYPE,  # those of `imported`: nothing is converted or measured again
        "CPU_THREADS": str(THREADS),
        "HTTP_PROXY": PROXY,
        "API_KEYS": SECRET,
        "HF_TOKEN": SECRET,
    }
    command = ["scripts/build_image", "cpu", "--model", MODEL, "--tag", "registry.example/it:1"]
    environment = child_environment(home, settings)
    result = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (bento,) = [path for path in (home / "bentos" / "rerank_embedding").iterdir() if path.is_dir()]
    return Built(bento, home, folder / "record")


def test_the_image_is_built_with_proxy_settings_and_the_model(built: Built) -> None:
    build, layer = [call for call in built.calls if call.startswith("build ")]
    assert "--tag registry.example/it:1" in build
    assert f"--build-arg HTTP_PROXY={PROXY}" in build
    assert "--target service" in build
    assert "--tag registry.example/it:1 --build-arg BASE=registry.example/it:1" in layer
    context = (built.record / "context").read_text(encoding="utf-8")
    assert "model.safetensors" in context
    assert all(line.startswith("./models/") for line in context.splitlines())
    dockerfile = (built.record / "Dockerfile").read_text(encoding="utf-8")
    assert "HEALTHCHECK" in dockerfile
    assert "USER bentoml\n\nENTRYPOINT" in dockerfile


def test_the_bundle_has_no_secrets_tests_or_weights(built: Built) -> None:
    packed = [path for path in built.bento.rglob("*") if path.is_file()]
    names = {str(path.relative_to(built.bento)) for path in packed}
    assert {"src/service.py", "src/api/cl100k_base.tiktoken", "src/models/catalog.yaml", "src/metrics.py"} <= names
    page = [path for path in (ROOT / "playground").rglob("*") if path.is_file()]
    assert {f"src/{path.relative_to(ROOT)}" for path in page} <= names
    assert not [name for name in names if "test" in name or name.endswith((".safetensors", ".bin", ".xml", ".pyc"))]
    assert sum(path.stat().st_size for path in packed) < 5_000_000
    for path in packed:
        text = path.read_bytes()
        assert SECRET.encode() not in text, path
        assert PROXY.encode() not in text, path
    info = yaml.safe_load((built.bento / "bento.yaml").read_text(encoding="utf-8"))
    assert info["args"].items() >= {"platform": "cpu"}.items()
    assert info["models"] == []  # BentoML would resolve them at each start
    assert (built.bento / "src/embeddings").stat().st_mode & stat.S_IXUSR


@pytest.fixture(scope="module")
def served(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str], Path]]:
    """entrypoint.sh in the environment of a container: its URL, the environment, its writable folder."""
    folder = tmp_path_factory.mktemp("container")
    port = free_port()
    home = copy_home(built.home, folder / "data")
    (folder / "nobody").mkdir()
    (folder / "tmp").mkdir()
    container = {
        "BENTO_PATH": str(built.bento),
        "BENTOML_CONTAINERIZED": "true",
        "HOME": str(folder / "nobody"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PORT": str(port),
        "IMPORT_ON_DEMAND": "false",
    }
    environment = child_environment(home, SETTINGS | container)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log_path = folder / "log"
    with log_path.open("wb") as log:
        server = start_server([str(built.bento / "env/docker/entrypoint.sh")], environment, log, cwd=built.bento)
    container_server = Served(f"http://127.0.0.1:{port}", port, log_path, server)
    try:
        wait_until_ready(container_server)
        yield container_server.url, environment, folder
    finally:
        stop_server(server, grace_s=30)


def test_the_bundle_serves_both_endpoints(served: tuple[str, dict[str, str], Path]) -> None:
    url, _, _ = served
    vectors = http_post(f"{url}/v1/embeddings", json={"input": ["a cat", "a kitten"]}, timeout=300).json()["data"]
    first, second = (item["embedding"] for item in vectors)
    assert_allclose(sum(x * x for x in first), 1, atol=sum_atol(len(first)))
    cosine = sum(x * y for x, y in zip(first, second, strict=True))
    ranking = http_post(f"{url}/v1/rerank", json={"query": "a cat", "documents": ["a kitten"]}, timeout=300).json()
    assert_allclose(ranking["results"][0]["relevance_score"], (1 + cosine) / 2, atol=unit_atol(openvino_precision()))
    page = (ROOT / "playground/app.js").read_text(encoding="utf-8")
    assert http_get(f"{url}/playground/app.js", timeout=300).text == page


def test_the_service_writes_only_to_its_volume_and_tmp(built: Built, served: tuple[str, dict[str, str], Path]) -> None:
    """The root file system can be read-only."""
    url, _, folder = served
    assert http_get(f"{url}/readyz").status_code == 200
    assert list((folder / "nobody").iterdir()) == []
    newest = max(path.stat().st_mtime for path in built.bento.rglob("*"))
    assert newest < (folder / "log").stat().st_ctime
    assert not [path for path in built.bento.rglob("*") if path.suffix == ".pyc"]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (["src/embeddings", "health"], "/readyz returned 200"),
        (["src/embeddings", "list", "--stored"], "stored as sentence-transformers--all-minilm-l6-v2:"),
    ],
)
def test_the_scripts_run_in_the_bundle(
    built: Built, served: tuple[str, dict[str, str], Path], command: list[str], output: str
) -> None:
    """The health check, and the import of the init container in deploy/kubernetes."""
    _, environment, _ = served
    result = subprocess.run(command, cwd=built.bento, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert output in result.stdout
