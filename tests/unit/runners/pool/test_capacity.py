"""Why a machine cannot serve a model: one sentence with the numbers or names, before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from models.catalog import load_catalog
from runners.devices import Device
from runners.pool import capacity
from runners.pool.capacity import memory_budget, memory_needed, unavailable_reason
from settings import Settings
from tests.unit.fakes import spec

CPU = Device("cpu", "cpu", "float32", 2)
GPU = Device("cuda", "cuda:1", "bfloat16", 1)
GB = 10**9


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 10 GB."""
    monkeypatch.setattr(capacity, "memory_bytes", lambda _device: 10 * GB)


def why(device: Device = CPU, *, settings: Settings | None = None, **fields: Any) -> str | None:
    return unavailable_reason(spec(**fields), device, settings or Settings(memory_fraction=0.9))


@pytest.mark.parametrize(
    "fields", [{"parameters": 1_000_000_000}, {}, {"requires": ["json", "asyncio"]}], ids=["fits", "unknown", "modules"]
)
def test_a_model_that_can_be_served_has_none(fields: dict[str, Any]) -> None:
    assert why(**fields) is None


def test_too_little_memory_names_both_numbers_and_what_to_do() -> None:
    assert why(parameters=2_000_000_000) == (
        "tiny needs about 9.6 GB in float32; the budget on cpu is 9.0 GB (MEMORY_FRACTION). "
        "Use a larger machine or a smaller model."
    )


def test_half_precision_halves_the_need() -> None:
    assert why(GPU, parameters=2_000_000_000) is None
    assert "8.4 GB in bfloat16; the budget on cuda:1 is 8.0 GB" in str(
        why(GPU, parameters=3_500_000_000, settings=Settings(memory_fraction=0.8))
    )
    assert memory_needed(10**8, "float16") == memory_needed(10**8, "bfloat16") == 240_000_000
    assert memory_needed(10**8, "float32") == 480_000_000


def test_a_small_model_has_a_second_copy_for_short_texts() -> None:
    assert memory_needed(10**7, "float32") == 2 * 48_000_000


def test_the_fraction_decides_the_budget() -> None:
    assert memory_budget(CPU, Settings(memory_fraction=0.25)) == 2.5 * GB
    assert why(parameters=2_000_000_000, settings=Settings(memory_fraction=1.0)) is None


def test_missing_modules_are_named_as_packages_and_before_the_memory() -> None:
    message = why(requires=["json", "no_such_module", "nor_this"], parameters=10**12)
    assert message == "tiny needs Python packages that are not installed. Run: pip install no-such-module nor-this"


@pytest.mark.parametrize("parameters", [None, 10**12])
def test_a_forwarded_model_needs_a_key_and_nothing_else(parameters: int | None) -> None:
    block: dict[str, Any] = {"kind": "reranker", "conversion": "cohere", "parameters": parameters}
    message = why(**block)
    assert message == "acme/Tiny has no public weights and is forwarded to Cohere's API: set COHERE_API_KEY."
    assert why(settings=Settings.model_validate({"cohere_api_key": "secret"}), **block) is None


def test_what_this_installation_can_serve() -> None:
    """The packages that the catalogue requires are installed with the service; some models need more than 10 GB."""
    settings = Settings.model_validate({"cohere_api_key": "secret"})
    hindered = {found.name for found in load_catalog() if unavailable_reason(found, CPU, settings)}
    large = {f"qwen3-{kind}-{size}" for kind in ("embedding", "reranker") for size in ("4b", "8b")}
    large |= {"f2llm-v2-4b", "f2llm-v2-8b", "f2llm-v2-14b", "nemotron-3-embed-8b"}
    assert hindered == {"nv-embed-v2", "e5-mistral-7b", "bge-reranker-v2-gemma", *large}
