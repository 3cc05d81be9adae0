"""deploy/kserve: valid for KServe, and the same containers as in deploy/kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.unit.deploy.manifests import KUBERNETES, ROOT, documents, kustomize

SCHEMAS = yaml.safe_load(Path(__file__).with_name("schemas.yaml").read_text(encoding="utf-8"))
RUNTIME, SERVICE = documents(ROOT / "deploy" / "kserve" / "kserve.yaml")
FROM_KSERVE = {"minReplicas", "maxReplicas", "model"}
"""Keys of the predictor that are not those of a Pod."""
DEPLOYMENT = next(it for it in kustomize(KUBERNETES / "cpu") if it["kind"] == "Deployment")


def pod() -> dict[str, Any]:
    """The Pod that KServe makes of both resources."""
    ours = {key: value for key, value in SERVICE["spec"]["predictor"].items() if key not in FROM_KSERVE}
    theirs = {key: RUNTIME["spec"][key] for key in ("containers", "volumes")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": ours | theirs}


@pytest.mark.parametrize("document", [RUNTIME, SERVICE], ids=lambda document: document["kind"])
def test_each_resource_follows_its_schema(document: dict[str, Any]) -> None:
    """schemas.yaml was written from KServe's documentation: its Python package cannot be installed beside BentoML."""
    jsonschema.validate(document, SCHEMAS[document["kind"]])


def test_kubernetes_accepts_the_pod() -> None:
    kubernetes_validate.validate(pod(), "1.37", strict=True)


def test_the_service_uses_the_runtime() -> None:
    model = SERVICE["spec"]["predictor"]["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["modelFormat"]["name"] in {each["name"] for each in RUNTIME["spec"]["supportedModelFormats"]}


def test_the_pod_is_that_of_deploy_kubernetes() -> None:
    """Security belongs to the container here: a ServingRuntime has no securityContext of the Pod."""
    expected = DEPLOYMENT["spec"]["template"]["spec"]
    found = pod()["spec"]
    for name in ("volumes", "terminationGracePeriodSeconds", "automountServiceAccountToken", "enableServiceLinks"):
        assert found[name] == expected[name], name
    for kind in ("initContainers", "containers"):
        (ours,), (theirs,) = found[kind], expected[kind]
        for name in ("image", "command", "envFrom", "resources", "volumeMounts", "lifecycle"):
            assert ours.get(name) == theirs.get(name), name
        assert ours["securityContext"].items() >= theirs["securityContext"].items()
        assert ours["securityContext"]["runAsUser"] == expected["securityContext"]["runAsUser"]
    (serving,), (deployed,) = found["containers"], expected["containers"]
    (port,) = [port["containerPort"] for port in serving["ports"]]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        named = deployed[probe]["httpGet"] | {"port": port}
        assert serving[probe] == deployed[probe] | {"httpGet": named}
