"""Real weights and published numbers: correct weights are imported and verified, damaged ones are rejected."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from importing.registration import register_checkpoint
from importing.verify import compare, verify
from models.catalog import load_catalog
from models.goldens import goldens_of
from models.store import ModelStore
from runners.devices import Device
from runners.loading import load_model
from settings import load_settings
from tests.command_line import run
from tests.serving import copy_home
from tests.tolerance import FLOAT32
from tests.variant import THREADS

MODEL = "all-minilm-l6-v2"
SPEC = load_catalog().get(MODEL)
EMBEDDINGS = "embeddings.word_embeddings.weight"
ATTENTION = "encoder.layer.3.attention.self"

PUBLISHED = 5e-6
"""The rounding error of five decimals."""

Damage = Callable[[dict[str, torch.Tensor]], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BENTOML_HOME for the scripts."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> ModelStore:
    """Its model store, empty."""
    return ModelStore()


def test_real_weights_match_the_published_numbers(store: ModelStore) -> None:
    settings = load_settings({"BACKEND": "torch"})
    stored = register_checkpoint(
        SPEC,
        store=store,
        settings=settings,
        check=lambda spec, stored: verify(spec, stored, settings, goldens_of(MODEL)),
        progress=lambda _done, _total: None,
    )
    verification = stored.facts.verification
    assert verification is not None
    assert verification.lowest_cosine is not None
    assert verification.lowest_cosine > 1 - FLOAT32**2
    model = load_model(SPEC, stored, Device("cpu", "cpu", "float32", THREADS), settings)
    assert model.engine is not None
    results = [compare(golden, model.engine) for golden in goldens_of(MODEL)]
    model.close()
    assert [result.golden for result in results] == goldens_of(MODEL)
    assert all(result.passed for result in results)
    assert max(result.difference for result in results) < PUBLISHED + FLOAT32
    assert store.find(SPEC) is not None


@pytest.mark.parametrize(
    ("settings", "largest", "measured"),
    [
        ({"DTYPE": "float32", "BACKEND": "torch"}, PUBLISHED + FLOAT32, ["vectors"]),
        # the tolerance of the check: `auto` uses bfloat16 if the processor supports it
        ({}, 0.006, ["tokens/s", "vectors"]),
    ],
)
def test_an_imported_model_is_verified(
    imported: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    largest: float,
    measured: list[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    copy_home(imported, home)
    assert run("import", MODEL) == 0  # converts it for these settings
    capsys.readouterr()
    assert run("verify") == 0
    header, *others, row = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in others] == [[MODEL, what] for what in measured]
    assert header.split() == ["model", "compared", "difference", "tolerance", "verdict"]
    name, compared, difference, tolerance, verdict = row.split()
    assert (name, compared, tolerance, verdict) == (MODEL, "query_cosines", "0.006", "pass")
    assert float(difference) < largest


def test_a_model_that_is_not_stored_cannot_be_verified(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", MODEL) == 1
    assert MODEL in capsys.readouterr().err
    assert run("verify", "all-minilm-l6-v3") == 2
    assert "Did you mean all-minilm-l6-v2" in capsys.readouterr().err


def swap_query_and_value(tensors: dict[str, torch.Tensor]) -> None:
    for part in ("weight", "bias"):
        query, value = f"{ATTENTION}.query.{part}", f"{ATTENTION}.value.{part}"
        tensors[query], tensors[value] = tensors[value], tensors[query]


def swap_some_words(tensors: dict[str, torch.Tensor]) -> None:
    """Swap neighbouring word vectors, one pair in four words."""
    order = torch.arange(len(tensors[EMBEDDINGS]))
    order[2000:30000:4], order[2001:30000:4] = order[2001:30000:4].clone(), order[2000:30000:4].clone()
    tensors[EMBEDDINGS] = tensors[EMBEDDINGS][order]


def put_a_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["encoder.layer.5.output.dense.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (swap_query_and_value, "query_cosines differ by"),
        (swap_some_words, "query_cosines differ by"),
        (put_a_nan, "NaN or infinity"),
    ],
)
def test_damaged_weights_are_not_stored(
    store: ModelStore,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Damage,
    reason: str,
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(weights, folder)
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert run("import", MODEL, "--from-dir", str(folder), "--json") == 1
    *_, last = capsys.readouterr().out.splitlines()
    message = json.loads(last)["error"]
    assert message.startswith(f"{SPEC.repo} is refused: ")
    assert reason in message
    assert store.list() == []
    assert store.find(SPEC) is None
    assert [path.name for path in store.work.iterdir() if path.is_dir()] == []
