"""deploy/kubernetes: valid for the Kubernetes API, one Deployment a platform, and names that fit together."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
import yaml

import metrics
from models.catalog import load_catalog
from settings import Settings, load_settings
from tests.unit.deploy.manifests import KUBERNETES, PLATFORMS, ROOT, USER_ID, documents

VERSIONS = ("1.29", "1.37")
"""The oldest that clouds still run and the newest whose schemas are there."""
COMMON = documents(KUBERNETES / "common.yaml")
FILES = {name: documents(KUBERNETES / f"{name}.yaml") for name in PLATFORMS}
EVERYTHING = [*COMMON, *(document for name in PLATFORMS for document in FILES[name])]
LABELS = {"app.kubernetes.io/name": "rerank-embedding"}
GRACE_S = Settings.model_fields["shutdown_grace_s"].default

each_platform = pytest.mark.parametrize("platform", PLATFORMS)


def common(kind: str) -> dict[str, Any]:
    (found,) = [document for document in COMMON if document["kind"] == kind]
    return found


def deployment(platform: str) -> dict[str, Any]:
    return FILES[platform][0]


def pod(platform: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(platform)["spec"]["template"]["spec"]
    return spec


def containers(platform: str) -> list[dict[str, Any]]:
    return [*pod(platform)["initContainers"], *pod(platform)["containers"]]


def test_no_file_is_forgotten() -> None:
    assert {path.name for path in KUBERNETES.iterdir()} == {"common.yaml", *(f"{name}.yaml" for name in PLATFORMS)}
    kinds = [document["kind"] for document in EVERYTHING]
    assert kinds.count("Deployment") == kinds.count("HorizontalPodAutoscaler") == len(PLATFORMS)
    assert {"ConfigMap", "PersistentVolumeClaim", "Service", "PodDisruptionBudget", "NetworkPolicy"} < set(kinds)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", EVERYTHING, ids=lambda it: f"{it['kind']} {it['metadata']['name']}")
def test_the_api_takes_it(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("mistake", [{"replica": 2}, {"replicas": "two"}])
def test_the_schemas_refuse_mistakes(mistake: dict[str, Any]) -> None:
    broken = deepcopy(deployment("cpu"))
    broken["spec"] |= mistake
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@each_platform
def test_containers_run_as_nobody_on_a_read_only_root(platform: str) -> None:
    security = pod(platform)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == USER_ID
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(platform)["automountServiceAccountToken"] is False
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
    assert importing["command"] == ["src/scripts/import_models", "--preload"]
    (claim,) = [it["persistentVolumeClaim"] for it in pod(platform)["volumes"] if it["name"] == "models"]
    assert claim["claimName"] == common("PersistentVolumeClaim")["metadata"]["name"]


@each_platform
def test_other_services_set_no_variables(platform: str) -> None:
    """A Service named bentoml would set BENTOML_PORT=tcp://..., which BentoML takes for its port."""
    assert pod(platform)["enableServiceLinks"] is False


@each_platform
def test_probes_resources_and_time_to_end(platform: str) -> None:
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


def test_the_platforms_differ_in_nothing_else() -> None:
    def plain(name: str) -> str:
        document = deepcopy(deployment(name))
        spec = document["spec"]["template"]["spec"]
        del spec["containers"][0]["resources"]
        spec["securityContext"].pop("supplementalGroups", None)
        return re.sub(rf"(embedding[-:]|component: ){name}", r"\1PLATFORM", yaml.safe_dump(document))

    assert plain("cpu") == plain("cuda") == plain("rocm")


@each_platform
def test_the_autoscaler_follows_a_metric_that_there_is(platform: str) -> None:
    autoscaler = FILES[platform][1]["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == deployment(platform)["metadata"]["name"]
    (metric,) = autoscaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert [it.name for it in metrics.QUEUE_TOKENS.collect()] == [name]
    (rule,) = yaml.safe_load((ROOT / "deploy" / "prometheus-adapter.yaml").read_text("utf-8"))["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert int(metric["pods"]["target"]["averageValue"]) < Settings.model_fields["max_queued_tokens"].default
    assert "replicas" not in deployment(platform)["spec"]  # an apply would undo what the autoscaler did


@each_platform
def test_everything_selects_the_pods(platform: str) -> None:
    labels = deployment(platform)["spec"]["template"]["metadata"]["labels"]
    assert deployment(platform)["spec"]["selector"]["matchLabels"] == labels
    assert labels.items() >= LABELS.items()
    assert common("Service")["spec"]["selector"] == LABELS
    assert common("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert common("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS


def test_selectors_of_different_deployments_do_not_overlap() -> None:
    selectors = [str(deployment(name)["spec"]["selector"]) for name in PLATFORMS]
    assert len(set(selectors)) == len(PLATFORMS)


def test_the_settings_are_settings() -> None:
    given = common("ConfigMap")["data"]
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    settings = load_settings(given)
    catalog = load_catalog()
    for name in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        assert not catalog.get(name).forwarded


def test_no_secret_lies_in_a_file() -> None:
    assert not [document for document in EVERYTHING if document["kind"] == "Secret"]
    secret = {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert secret
    assert not secret & {name.lower() for name in common("ConfigMap")["data"]}
