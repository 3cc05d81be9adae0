"""deploy/kubernetes: each platform is valid for the Kubernetes API, and its names fit together."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

import metrics
from models.catalog import load_catalog
from settings import Settings, load_settings
from tests.unit.deploy.manifests import KUBERNETES, PLATFORMS, ROOT, USER_ID, kustomize

VERSIONS = ("1.29", "1.37")
"""The oldest version that clouds still run, and the newest version with published schemas."""
FOLDERS = {name: kustomize(KUBERNETES / name) for name in PLATFORMS}
EVERYTHING = [
    pytest.param(document, id=f"{name} {document['kind']}") for name in PLATFORMS for document in FOLDERS[name]
]
LABELS = {"app.kubernetes.io/name": "rerank-embedding"}
GRACE_S = Settings.model_fields["shutdown_grace_s"].default

each_platform = pytest.mark.parametrize("platform", PLATFORMS)


def resource(kind: str, platform: str = "cpu") -> dict[str, Any]:
    (found,) = [document for document in FOLDERS[platform] if document["kind"] == kind]
    return found


def deployment(platform: str) -> dict[str, Any]:
    return resource("Deployment", platform)


def pod(platform: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(platform)["spec"]["template"]["spec"]
    return spec


def containers(platform: str) -> list[dict[str, Any]]:
    return [*pod(platform)["initContainers"], *pod(platform)["containers"]]


def test_all_files_are_tested() -> None:
    files = {str(path.relative_to(KUBERNETES)) for path in KUBERNETES.rglob("*") if path.is_file()}
    base = {f"base/{name}.yaml" for name in ("kustomization", "settings", "common", "deployment")}
    assert files == base | {f"{name}/kustomization.yaml" for name in PLATFORMS}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", EVERYTHING)
def test_the_api_accepts_each_resource(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@each_platform
def test_containers_are_unprivileged_with_a_read_only_root(platform: str) -> None:
    security = pod(platform)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == USER_ID
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(platform)["automountServiceAccountToken"] is False
    # a Service named bentoml would set BENTOML_PORT=tcp://..., which BentoML reads as its port
    assert pod(platform)["enableServiceLinks"] is False
    for container in containers(platform):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts == {"/data", "/data/prometheus_multiproc_dir", "/tmp"}
        assert {mount["name"] for mount in container["volumeMounts"]} <= {it["name"] for it in pod(platform)["volumes"]}


@each_platform
def test_an_init_container_fills_the_model_volume(platform: str) -> None:
    (importing,) = pod(platform)["initContainers"]
    assert importing["command"] == ["./embeddings", "import", "--preload"]
    (claim,) = [it["persistentVolumeClaim"] for it in pod(platform)["volumes"] if it["name"] == "models"]
    assert claim["claimName"] == resource("PersistentVolumeClaim")["metadata"]["name"]


@each_platform
def test_probes_resources_and_termination(platform: str) -> None:
    (serving,) = pod(platform)["containers"]
    assert serving["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert serving["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert serving["startupProbe"]["httpGet"]["path"] == "/livez"
    assert serving["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]
    before = int(serving["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod(platform)["terminationGracePeriodSeconds"] > before + GRACE_S + 10
    for container in containers(platform):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_each_platform_has_its_own_device() -> None:
    limits = {name: set(pod(name)["containers"][0]["resources"]["limits"]) for name in PLATFORMS}
    assert limits == {
        "cpu": {"cpu", "memory"},
        "cuda": {"memory", "nvidia.com/gpu"},
        "rocm": {"memory", "amd.com/gpu"},
    }
    assert pod("rocm")["securityContext"]["supplementalGroups"]


def test_the_platforms_share_everything_else() -> None:
    """So all of them can be applied to one cluster: they have one Service, one volume and one ConfigMap."""
    kinds = {"Deployment", "HorizontalPodAutoscaler"}
    shared = [[it for it in FOLDERS[name] if it["kind"] not in kinds] for name in PLATFORMS]
    assert shared[0] == shared[1] == shared[2]
    assert {it["kind"] for it in FOLDERS["cpu"]} == kinds | {it["kind"] for it in shared[0]}
    assert len({str(deployment(name)["spec"]["selector"]) for name in PLATFORMS}) == len(PLATFORMS)
    for name in PLATFORMS:
        assert deployment(name)["metadata"]["name"] == f"rerank-embedding-{name}"
        assert {container["image"] for container in containers(name)} == {f"rerank-embedding:{name}"}


@each_platform
def test_the_autoscaler_uses_an_existing_metric(platform: str) -> None:
    autoscaler = resource("HorizontalPodAutoscaler", platform)["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == deployment(platform)["metadata"]["name"]
    (metric,) = autoscaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert [it.name for it in metrics.QUEUE_TOKENS.collect()] == [name]
    (rule,) = yaml.safe_load((ROOT / "deploy" / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert int(metric["pods"]["target"]["averageValue"]) < Settings.model_fields["max_queued_tokens"].default
    assert "replicas" not in deployment(platform)["spec"]  # applying it would reset the autoscaler


@each_platform
def test_selectors_match_the_pods(platform: str) -> None:
    labels = deployment(platform)["spec"]["template"]["metadata"]["labels"]
    assert deployment(platform)["spec"]["selector"]["matchLabels"] == labels
    assert labels.items() >= LABELS.items()
    assert resource("Service")["spec"]["selector"] == LABELS
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS


def test_the_config_map_has_valid_settings_and_no_file_a_secret() -> None:
    given = resource("ConfigMap")["data"]
    secret = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert given.keys() <= {name.upper() for name in Settings.model_fields} - secret
    assert not [document for name in PLATFORMS for document in FOLDERS[name] if document["kind"] == "Secret"]
    settings = load_settings(given)
    for name in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        assert not load_catalog().get(name).forwarded
