"""A checkpoint that does not fit its architecture never enters the store: its answers would be plausible and wrong."""

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
from importing.registration import register_checkpoint
from importing.verify import verify
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from settings import load_settings
from tests.tiny import build
from tests.unit.fakes import spec

EMBEDDER = spec(repo="sentence-transformers/all-MiniLM-L6-v2")
RERANKER = spec(repo="cross-encoder/ms-marco-MiniLM-L6-v2", kind="reranker")
EACH = {"embedder": EMBEDDER, "reranker": RERANKER}
Damage = Callable[[Path], object]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def attempt(wanted: ModelSpec, folder: Path, store: ModelStore) -> None:
    settings = load_settings({"CPU_THREADS": "1"})

    def check(spec: ModelSpec, stored: StoredModel) -> None:
        verify(spec, stored, settings)

    register_checkpoint(wanted, store=store, settings=settings, check=check, progress=lambda *_: None, from_dir=folder)


def refuse(wanted: ModelSpec, folder: Path, store: ModelStore, reason: str) -> None:
    with pytest.raises(ModelUnavailableError, match=reason):
        attempt(wanted, folder, store)
    assert store.list() == []
    assert [path for path in store.work.iterdir() if path.is_dir()] == []


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Rewrite the weights with some of them edited."""
    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def name_of(state: dict[str, torch.Tensor], end: str) -> str:
    return next(name for name in state if name.endswith(end))


def drop(end: str) -> Damage:
    return lambda folder: change(folder, lambda state: state.pop(name_of(state, end)))


def add(name: str) -> Damage:
    return lambda folder: change(folder, lambda state: state.update({name: torch.zeros(2)}))


def reshape(end: str) -> Damage:
    return lambda folder: change(folder, lambda state: state.update({name_of(state, end): torch.zeros(3, 3)}))


def fill(end: str, value: float) -> Damage:
    return lambda folder: change(folder, lambda state: state[name_of(state, end)].fill_(value))


def remove(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


WEIGHT = "encoder.layer.1.attention.self.query.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing tensor": (drop(WEIGHT), r"refused: 1 missing keys \(.*query\.weight\)"),
    "unexpected tensor": (add("encoder.layer.9.output.dense.bias"), r"refused: 1 unexpected keys"),
    "mis-shaped tensor": (reshape(WEIGHT), r"mismatched keys|cannot be loaded"),
    "NaN weights": (fill(WEIGHT, float("nan")), "produced NaN or infinity for a short text"),
    "wrong architecture": (lambda folder: config(folder, architectures=["BertForTokenClassification"]), "architecture"),
    "no architecture": (lambda folder: config(folder, architectures=None), "architecture in config.json is 'none'"),
    "unknown model type": (lambda folder: config(folder, model_type="nothing"), "cannot be loaded"),
    "config cut off": (lambda folder: (folder / "config.json").write_text("{"), r"cannot be read"),
    "no weights": (remove("model.safetensors", "pytorch_model.bin"), "holds no weights"),
    "weights cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-99]),
        "cannot be (read|loaded)",
    ),
    "tokenizer cut off": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be read"),
}


@pytest.mark.parametrize("wanted", EACH.values(), ids=EACH)
@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, store: ModelStore, wanted: ModelSpec, damage: Damage, reason: str
) -> None:
    folder = build(wanted.repo, tmp_path / "checkpoint")
    damage(folder)
    refuse(wanted, folder, store, reason)


@pytest.mark.parametrize("wanted", EACH.values(), ids=EACH)
def test_a_whole_one_is_taken(tmp_path: Path, store: ModelStore, wanted: ModelSpec) -> None:
    attempt(wanted, build(wanted.repo, tmp_path / "checkpoint"), store)
    assert len(store.list()) == 1


def test_a_classifier_without_its_head_is_refused(tmp_path: Path, store: ModelStore) -> None:
    folder = build(RERANKER.repo, tmp_path / "checkpoint")
    drop("classifier.weight")(folder)
    refuse(RERANKER, folder, store, r"missing keys \(classifier\.weight\)")


def test_a_classifier_with_several_labels_is_no_reranker(tmp_path: Path, store: ModelStore) -> None:
    folder = build(RERANKER.repo, tmp_path / "checkpoint")
    change(
        folder, lambda state: state.update({"classifier.weight": torch.zeros(3, 32), "classifier.bias": torch.zeros(3)})
    )
    config(folder, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    refuse(RERANKER, folder, store, "must have 1 logit, not 3")


def test_an_embedder_is_no_reranker_and_the_other_way_round(tmp_path: Path, store: ModelStore) -> None:
    folder = build(EMBEDDER.repo, tmp_path / "embedder")
    refuse(spec(repo=EMBEDDER.repo, kind="reranker"), folder, store, "must be a classifier")
    folder = build(RERANKER.repo, tmp_path / "reranker")
    refuse(spec(repo=RERANKER.repo), folder, store, "must be an encoder")


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path, store: ModelStore) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    folder = build(EMBEDDER.repo, tmp_path / "checkpoint")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Bomb()}))
    refuse(EMBEDDER, folder, store, "cannot be read")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"pooling_mode_max_tokens": True}, "must be one of cls, mean and last token"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "must be one of cls, mean and last token"),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "include_prompt: false is not supported"),
    ],
)
def test_a_pooling_that_is_not_served_is_refused(
    tmp_path: Path, store: ModelStore, content: dict[str, bool], reason: str
) -> None:
    folder = build(EMBEDDER.repo, tmp_path / "checkpoint")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(content))
    refuse(EMBEDDER, folder, store, reason)


def test_a_layer_that_is_not_served_is_refused(tmp_path: Path, store: ModelStore) -> None:
    folder = build(EMBEDDER.repo, tmp_path / "checkpoint")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.LSTM"
    (folder / "modules.json").write_text(json.dumps(modules))
    refuse(EMBEDDER, folder, store, "names a layer 'LSTM'")
