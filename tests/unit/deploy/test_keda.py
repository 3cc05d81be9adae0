"""deploy/keda: valid for KEDA, and its names fit to the metrics and to deploy/kubernetes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1

import metrics
from settings import Settings
from tests.unit.deploy.manifests import KUBERNETES, ROOT, documents, kustomize

FOLDER = ROOT / "deploy" / "keda"
SCHEMAS = yaml.safe_load(Path(__file__).with_name("schemas.yaml").read_text(encoding="utf-8"))
FILES = {path.name: documents(path) for path in FOLDER.iterdir()}
ALWAYS, TO_ZERO = "scaledobject.yaml", "scale-to-zero.yaml"


def strict(schema: Any) -> Any:
    """The schema that also rejects unknown keys."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    return {"additionalProperties": False} | inner if isinstance(schema.get("properties"), dict) else inner


SCHEMAS["ScaledObject"] = strict(v1alpha1.ScaledObject.model_json_schema(by_alias=True))


def scaled(file: str) -> dict[str, Any]:
    (found,) = [document for document in FILES[file] if document["kind"] == "ScaledObject"]
    return found


def triggers(file: str) -> dict[str, dict[str, str]]:
    return {trigger["type"]: trigger["metadata"] for trigger in scaled(file)["spec"]["triggers"]}


@pytest.mark.parametrize("file", FILES)
def test_each_resource_follows_its_schema(file: str) -> None:
    """ScaledObject: the package's schema. InterceptorRoute: schemas.yaml, because no package has it."""
    for document in FILES[file]:
        jsonschema.validate(document, SCHEMAS[document["kind"]])
        typo = document | {"spec": document["spec"] | {"minReplicas": 1}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(typo, SCHEMAS[document["kind"]])


@pytest.mark.parametrize("file", FILES)
def test_it_scales_the_deployment_by_its_waiting_tokens(file: str) -> None:
    deployment, autoscaler = (
        next(it for it in kustomize(KUBERNETES / "cpu") if it["kind"] == kind)
        for kind in ("Deployment", "HorizontalPodAutoscaler")
    )
    assert scaled(file)["spec"]["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}
    assert scaled(file)["spec"]["maxReplicaCount"] == autoscaler["spec"]["maxReplicas"]
    query = triggers(file)["prometheus"]["query"]
    assert re.findall(r"\bservice_\w+", query) == [it.name for it in metrics.QUEUE_TOKENS.collect()]
    (pods,) = re.findall(r'pod=~"([^"]+)"', query)
    assert re.fullmatch(pods, f"{deployment['metadata']['name']}-5d8f7c9b4-x2x9k")
    threshold = autoscaler["spec"]["metrics"][0]["pods"]["target"]["averageValue"]
    assert triggers(file)["prometheus"]["threshold"] == threshold


def test_only_one_file_stops_the_last_pod_and_something_else_starts_it_again() -> None:
    assert scaled(ALWAYS)["spec"]["minReplicaCount"] == 1
    assert scaled(TO_ZERO)["spec"]["minReplicaCount"] == 0
    (route,) = [document for document in FILES[TO_ZERO] if document["kind"] == "InterceptorRoute"]
    assert triggers(TO_ZERO)["external-push"]["interceptorRoute"] == route["metadata"]["name"]
    (service,) = [document for document in kustomize(KUBERNETES / "cpu") if document["kind"] == "Service"]
    target = {"service": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    assert route["spec"]["target"] == target
    request_s = Settings.model_fields["request_timeout_s"].default
    assert int(route["spec"]["timeouts"]["request"].removesuffix("s")) > request_s
