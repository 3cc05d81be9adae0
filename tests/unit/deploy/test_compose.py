"""The compose files follow the specification, and give each platform its devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from settings import Settings
from tests.unit.deploy.manifests import DOCKER, PLATFORMS, ROOT, compose, documents, interpolated

NAME = "rerank-embedding"
FILES = {
    "cpu": DOCKER / "docker-compose.cpu.yml",
    "cuda": DOCKER / "docker-compose.yml",
    "rocm": DOCKER / "docker-compose.amd.yml",
}
VARIABLES = {"RENDER_GID": "109"}

each_platform = pytest.mark.parametrize("platform", PLATFORMS)


def service(platform: str, **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(FILES[platform], VARIABLES | variables)["services"][NAME]
    return found


@pytest.mark.parametrize("path", [*FILES.values(), DOCKER / "service.yml", ROOT / "docker-compose.yml"], ids=str)
def test_every_file_follows_the_specification(path: Path) -> None:
    PyCompose.from_yaml(yaml.safe_dump(interpolated(documents(path)[0], VARIABLES)))


@each_platform
def test_the_resolved_file_follows_the_specification(platform: str) -> None:
    PyCompose.from_yaml(yaml.safe_dump(compose(FILES[platform], VARIABLES))).validate()


@each_platform
def test_permissions_limits_and_health_check(platform: str) -> None:
    it = service(platform)
    assert it["image"] == f"rerank-embedding:{platform}"
    assert it["read_only"] is True
    assert it["cap_drop"] == ["ALL"]
    assert it["security_opt"] == ["no-new-privileges:true"]
    assert set(it["tmpfs"]) == {"/tmp", "/data/prometheus_multiproc_dir"}
    assert "models:/data" in it["volumes"]
    assert it["mem_limit"] == "8g"
    assert it["healthcheck"]["test"] == ["CMD", "/home/bentoml/bento/src/embeddings", "health"]
    assert "user" not in it
    assert "privileged" not in it


@each_platform
def test_variables_are_used(platform: str) -> None:
    it = service(platform, PORT="8080", MEMORY_LIMIT="3g", IMAGE="registry/it:1", CHECKPOINTS="/data/models")
    assert it["ports"] == ["0.0.0.0:8080:8080"]
    assert it["environment"]["PORT"] == "8080"
    assert it["mem_limit"] == "3g"
    assert it["image"] == "registry/it:1"
    assert "/data/models:/app/models:ro" in it["volumes"]


@each_platform
def test_proxies_are_passed_on_and_gpus_use_torch(platform: str) -> None:
    """The settings are generated; tests/unit/scripts/test_generate.py checks that all are passed on."""
    given = service(platform)["environment"]
    others = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert given.keys() - {name.upper() for name in Settings.model_fields} == others
    port = {"PORT": str(Settings.model_fields["port"].default)}
    assert {name: value for name, value in given.items() if value is not None} == (
        port if platform == "cpu" else port | {"BACKEND": "torch"}
    )


def test_each_platform_has_its_own_devices() -> None:
    assert not {"deploy", "devices", "group_add"} & set(service("cpu"))
    (device,) = service("cuda")["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert service("rocm")["devices"] == ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]
    assert service("rocm")["group_add"] == ["44", "109"]


def test_amd_reports_a_missing_group() -> None:
    with pytest.raises(KeyError, match="stat -c %g /dev/kfd"):
        compose(FILES["rocm"], {})


@pytest.mark.parametrize(
    ("chosen", "platform"),
    [({}, "cpu"), *(({"COMPOSE_PLATFORM": str(FILES[name].relative_to(ROOT))}, name) for name in PLATFORMS)],
)
def test_the_file_at_the_root_is_one_of_them(chosen: dict[str, str], platform: str) -> None:
    assert compose(ROOT / "docker-compose.yml", VARIABLES | chosen) == compose(FILES[platform], VARIABLES)
