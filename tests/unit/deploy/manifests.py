"""Reading what deploy/ and docker/ hold, for the tests beside this file."""

from __future__ import annotations

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
"""Of the user `bentoml` in BentoML's Dockerfile."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<text>[^}]*))?\}")


def documents(path: Path) -> list[dict[str, Any]]:
    """Every YAML document of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """A compose file with its variables filled in, as compose does once it has read the YAML."""
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
