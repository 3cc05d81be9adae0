"""A checkpoint that does not fit its architecture never enters the store: its answers would be plausible and wrong.

tests/integration/architectures/test_guards.py does the same with every family of models.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import ModelUnavailableError
from importing.verify import verify
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from settings import load_settings
from tests.tiny import build
from tests.unit.checkpoints import REPO, register
from tests.unit.fakes import spec

EMBEDDER = spec(repo=REPO)
RERANKER = spec(repo="cross-encoder/ms-marco-MiniLM-L6-v2", kind="reranker")
Damage = Callable[[Path], object]


def check(wanted: ModelSpec, stored: StoredModel) -> None:
    verify(wanted, stored, load_settings({"CPU_THREADS": "1"}))


def weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Rewrite the weights with some of them edited."""

    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        edit(state)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def config(name: str = "config.json", **changes: Any) -> Damage:
    """Change keys of a JSON file."""

    def damage(folder: Path) -> None:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))

    return damage


def cut_off(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-99])


def no_weights(folder: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        (folder / name).unlink()


def pickle_of_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Path.touch}))


def three_labels(folder: Path) -> None:
    weights(lambda state: state.update({"classifier.weight": torch.zeros(3, 32), "classifier.bias": torch.zeros(3)}))(
        folder
    )
    config(id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})(folder)


def code_of_its_own(folder: Path) -> None:
    config(auto_map={"AutoModel": "modeling_flash.FlashModel"})(folder)
    weights(lambda state: state.pop(WEIGHT))(folder)


def unknown_layer(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.LSTM"
    (folder / "modules.json").write_text(json.dumps(modules))


WEIGHT = "encoder.layer.1.attention.self.query.weight"
DAMAGES: dict[str, tuple[ModelSpec, Damage, str]] = {
    "missing tensor": (EMBEDDER, weights(lambda state: state.pop(WEIGHT)), r"1 missing keys \(.*query\.weight\)"),
    "unexpected tensor": (EMBEDDER, weights(lambda state: state.update(x=torch.zeros(2))), "1 unexpected keys"),
    "mis-shaped tensor": (
        EMBEDDER,
        weights(lambda state: state.update({WEIGHT: torch.zeros(3, 3)})),
        "mismatched keys|cannot be loaded",
    ),
    "NaN weights": (EMBEDDER, weights(lambda state: state[WEIGHT].fill_(float("nan"))), "NaN or infinity for a short"),
    "no head": (
        RERANKER,
        weights(lambda state: state.pop("classifier.weight")),
        r"missing keys \(classifier\.weight\)",
    ),
    "several labels": (RERANKER, three_labels, "must have 1 logit, not 3"),
    "no architecture": (EMBEDDER, config(architectures=None), "architecture in config.json is 'none'"),
    "an embedder": (spec(repo=EMBEDDER.repo, kind="reranker"), lambda _: None, "must be a classifier"),
    "a reranker": (spec(repo=RERANKER.repo), lambda _: None, "must be an encoder"),
    "unknown model type": (EMBEDDER, config(model_type="nothing"), "cannot be loaded"),
    "other tensors": (
        EMBEDDER,
        code_of_its_own,
        r"missing keys .* has remote code \(modeling_flash\.FlashModel\), which",
    ),
    "an architecture in the repository": (
        EMBEDDER,
        config(model_type="plamo", auto_map={"AutoModel": "modeling_plamo.PlamoBiModel"}),
        r"needs remote code \(modeling_plamo\.PlamoBiModel\), which is not run",
    ),
    "config cut off": (EMBEDDER, cut_off("config.json"), "cannot be read"),
    "tokenizer cut off": (EMBEDDER, cut_off("tokenizer.json"), "cannot be read"),
    "weights cut off": (EMBEDDER, cut_off("model.safetensors"), "cannot be (read|loaded)"),
    "a pickle of code": (EMBEDDER, pickle_of_code, "cannot be read"),
    "no weights": (EMBEDDER, no_weights, "holds no weights"),
    "unknown layer": (EMBEDDER, unknown_layer, "names a layer 'LSTM'"),
}


@pytest.mark.parametrize(("wanted", "damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, store: ModelStore, wanted: ModelSpec, damage: Damage, reason: str
) -> None:
    folder = build(wanted.repo, tmp_path / "checkpoint")
    damage(folder)
    with pytest.raises(ModelUnavailableError, match=reason):
        register(store, wanted, check=check, from_dir=folder)
    assert store.list() == []
    assert [path for path in store.work.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("wanted", [EMBEDDER, RERANKER], ids=["embedder", "reranker"])
def test_a_whole_one_is_taken(tmp_path: Path, store: ModelStore, wanted: ModelSpec) -> None:
    register(store, wanted, check=check, from_dir=build(wanted.repo, tmp_path / "checkpoint"))
    assert len(store.list()) == 1
