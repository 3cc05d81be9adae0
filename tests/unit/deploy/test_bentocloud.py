"""deploy/bentocloud.yaml against BentoML's own classes. They silently accept unknown keys; these tests do not."""

from __future__ import annotations

import types
from copy import deepcopy
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attr
import pytest
import yaml
from _bentoml_sdk.service.config import ServiceConfig, TrafficSchema
from bentoml._internal.cloud.schemas import modelschemas, schemasv2
from bentoml._internal.utils.cattr import bentoml_cattr

from models.catalog import load_catalog
from settings import Settings, load_settings
from tests.unit.deploy.manifests import ROOT

CONFIG = yaml.safe_load((ROOT / "deploy" / "bentocloud.yaml").read_text(encoding="utf-8"))


def complaints(value: Any, kind: Any, path: str = "") -> list[str]:
    """Differences between a value and a type annotation of BentoML's classes."""
    if get_origin(kind) in (Union, types.UnionType):
        found = [complaints(value, option, path) for option in get_args(kind)]
        return min(found, key=len)
    if kind is Any:
        return []
    if attr.has(kind):
        if not isinstance(value, dict):
            return [f"{path}: not a mapping"]
        hints = get_type_hints(kind, vars(schemasv2) | vars(modelschemas))
        unknown = [f"{path}.{key}: unknown" for key in value.keys() - hints.keys()]
        return unknown + [
            it for key in value.keys() & hints.keys() for it in complaints(value[key], hints[key], f"{path}.{key}")
        ]
    if get_origin(kind) is list:
        return [it for index, item in enumerate(value) for it in complaints(item, get_args(kind)[0], f"{path}.{index}")]
    if get_origin(kind) is dict:
        return [it for key, item in value.items() for it in complaints(item, get_args(kind)[1], f"{path}.{key}")]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [] if value in [member.value for member in kind] else [f"{path}: not one of {list(kind)}"]
    return [] if type(value) is kind else [f"{path}: not a {kind}"]


def check(config: dict[str, Any]) -> list[str]:
    services = config["services"].values()
    strategies = [it["deployment_strategy"] for it in services if "deployment_strategy" in it]
    found = [it for name in strategies for it in complaints(name, modelschemas.DeploymentStrategy, ".strategy")]
    overrides = [it["config_overrides"] for it in services if "config_overrides" in it]
    found += [
        f".config_overrides.{key}: unknown" for it in overrides for key in it.keys() - get_type_hints(ServiceConfig)
    ]
    traffic = [key for it in overrides for key in it.get("traffic", {}).keys() - get_type_hints(TrafficSchema)]
    found += [f".traffic.{key}: unknown" for key in traffic]
    return found + complaints(config, schemasv2.CreateDeploymentSchema)


def test_bentoml_reads_it() -> None:
    assert check(CONFIG) == []
    read = bentoml_cattr.structure(CONFIG, schemasv2.CreateDeploymentSchema)
    service = read.services["rerank_embedding"]
    assert service.instance_type.startswith("gpu.")
    assert 0 < service.scaling.min_replicas < service.scaling.max_replicas
    assert read.secrets == ["rerank-embedding"]


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "secret", ["x"]),
        (("services", "rerank_embedding", "scaling"), "min_replicas", "1"),
        (("services", "rerank_embedding"), "deployment_strategy", "Rolling"),
        (("envs", 0), "values", "x"),
        (("services", "rerank_embedding", "config_overrides"), "trafic", {}),
        (("services", "rerank_embedding", "config_overrides", "traffic"), "concurency", 1),
    ],
)
def test_a_mistake_is_reported(place: tuple[Any, ...], key: str, value: Any) -> None:
    broken = deepcopy(CONFIG)
    inner = broken
    for step in place:
        inner = inner[step]
    inner[key] = value
    assert len(check(broken)) == 1


def test_names_match_the_service() -> None:
    source = (ROOT / "service.py").read_text(encoding="utf-8")
    (name,) = CONFIG["services"]
    assert f'name="{name}"' in source
    assert CONFIG["bento"].split(":")[0] == name


def test_variables_are_settings_and_no_secrets() -> None:
    given = {item["name"]: item["value"] for item in CONFIG["envs"]}
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    settings = load_settings(given)
    for name in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
        load_catalog().get(name)
    assert not [name for name in given if name.endswith(("_KEY", "_KEYS", "_TOKEN"))]
