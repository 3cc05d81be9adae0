"""Reads the files of deploy/ and docker/ for the tests in this folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploy" / "kubernetes"
DOCKER = ROOT / "docker"
PLATFORMS = ("cpu", "cuda", "rocm")
USER_ID = 1034
"""Id of the user `bentoml` in BentoML's Dockerfile."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<text>[^}]*))?\}")


def documents(path: Path) -> list[dict[str, Any]]:
    """All YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` prints for a folder, as far as deploy/kubernetes uses it; an unknown key fails."""
    (config,) = documents(folder / "kustomization.yaml")
    assert (config.pop("apiVersion"), config.pop("kind")) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    found: list[dict[str, Any]] = []
    for resource in config.pop("resources"):
        path = folder / resource
        found += kustomize(path) if path.is_dir() else documents(path)
    found = json.loads(json.dumps(found))  # without the aliases of YAML: a patch must not change two places
    for patch in config.pop("patches", []):
        assert patch.pop("options") == {"allowNameChange": True}
        (target,) = [it for it in found if it["kind"] == patch["target"]["kind"]]
        for operation in yaml.safe_load(patch["patch"]):
            _apply(target, **operation)
    for image in config.pop("images", []):
        for deployment in (it for it in found if it["kind"] == "Deployment"):
            spec = deployment["spec"]["template"]["spec"]
            for container in (*spec["initContainers"], *spec["containers"]):
                assert container["image"] == image["name"]
                container["image"] += f":{image['newTag']}"
    assert not config
    return found


def _apply(target: Any, *, op: str, path: str, value: Any) -> None:
    """One operation of a JSON patch (RFC 6902)."""
    *parents, last = [step.replace("~1", "/") for step in path.strip("/").split("/")]
    for step in parents:
        target = target[int(step) if isinstance(target, list) else step]
    assert (last in target) == {"add": False, "replace": True}[op], path
    target[last] = value


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """A compose file with its variables filled in, as compose does after parsing the YAML."""
    if isinstance(value, dict):
        return {key: interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, variables) for inner in value]
    return _VARIABLE.sub(lambda match: _fill(match, variables), value) if isinstance(value, str) else value


def _fill(match: re.Match[str], variables: Mapping[str, str]) -> str:
    given = variables.get(match["name"], "")
    if match["kind"] == ":?" and not given:
        raise KeyError(match["text"])
    return given or (match["text"] if match["kind"] == ":-" else "")


def compose(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """A compose file as compose would run it: variables filled in, `extends` and `include` resolved."""
    read: dict[str, Any] = interpolated(yaml.safe_load(path.read_text(encoding="utf-8")), variables)
    for included in read.pop("include", []):
        read = _merge(compose(path.parent / included, variables), read)
    for name, service in read.get("services", {}).items():
        extended = service.pop("extends", None)
        if extended:
            base = compose(path.parent / extended["file"], variables)["services"][extended["service"]]
            read["services"][name] = _merge(base, service)
    return read


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = _merge(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            merged[key] = [*mine, *value]
        else:
            merged[key] = value
    return merged
