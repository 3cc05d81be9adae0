"""HF_HUB_OFFLINE: models from the cache of Hugging Face's own tools, and no request."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights
from importing.hub_cache import cached_snapshot, is_offline
from models.catalog import ModelSpec
from models.store import ModelStore
from settings import load_settings
from tests.unit.checkpoints import REPO, WANTED, register
from tests.unit.fakes import spec, write_files

COMMIT = "c" * 40


class Cache:
    """A cache in the layout of huggingface_hub: blobs by their digests, snapshots of links to them."""

    def __init__(self, root: Path, source: Path) -> None:
        self.place = root / "models--sentence-transformers--all-MiniLM-L6-v2"
        self.snapshot = self.place / "snapshots" / COMMIT
        for path in source.rglob("*"):
            if path.is_file():
                self.add(str(path.relative_to(source)), path.read_bytes())
        (self.place / "refs").mkdir()
        (self.place / "refs" / "main").write_text(COMMIT)

    def add(self, name: str, content: bytes) -> None:
        blob = self.place / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (self.snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (self.snapshot / name).unlink(missing_ok=True)
        (self.snapshot / name).symlink_to(blob)


@pytest.fixture
def cache(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return Cache(tmp_path / "hub", checkpoint)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_model_comes_from_the_cache(cache: Cache, store: ModelStore, revision: str | None) -> None:
    """Without a request: nothing listens where the Hub should be."""
    stored = register(store, spec(repo=REPO, pooling="mean", revision=revision), HF_HUB_OFFLINE="1")
    assert stored.facts.revision == COMMIT
    weights = stored.folder / "model.safetensors"
    assert not weights.is_symlink()
    assert not weights.samefile(cache.snapshot / weights.name)


def test_transformers_offline_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_offline(load_settings({}))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the client reads both variables into this one
    assert is_offline(load_settings({}))


def refused(wanted: ModelSpec = WANTED) -> str:
    with pytest.raises(ModelUnavailableError) as raised:
        cached_snapshot(wanted)
    return raised.value.message


def test_another_commit_or_repository_is_not_taken(cache: Cache) -> None:
    message = refused(spec(repo=REPO, revision="d" * 40))
    assert "missing: config.json, model.safetensors" in message
    assert message.endswith(f"hf download {REPO} --revision {'d' * 40}")
    assert f"hf download {REPO}-other" in refused(spec(repo=f"{REPO}-other"))
    (cache.place / "refs" / "main").write_text("../../..")
    assert "missing: config.json" in refused()


def test_weights_that_are_not_there(cache: Cache) -> None:
    (cache.snapshot / "model.safetensors").rename(cache.snapshot / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    cache.add("model.safetensors.index.json", json.dumps({"weight_map": shards}).encode())
    assert "missing: model-00002-of-00002.safetensors" in refused()
    cache.add("model.safetensors.index.json", b"{")
    assert "missing: a readable model.safetensors.index.json" in refused()
    for weights in (*cache.snapshot.glob("*.safetensors*"), *cache.snapshot.glob("*.bin")):
        weights.unlink()
    assert "missing: model.safetensors" in refused()


def test_a_damaged_blob(cache: Cache) -> None:
    blob = (cache.snapshot / "model.safetensors").resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    assert "model.safetensors is damaged in the Hugging Face cache" in refused()


def test_a_repository_with_one_shard_and_an_index(store: ModelStore, models_dir: Path) -> None:
    """Nobody reads model-00001-of-00001.safetensors without its index, and nobody needs the index."""
    (source,) = models_dir.iterdir()
    expected = load_file(source / "model.safetensors")
    (source / "model.safetensors").rename(source / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(expected, "model-00001-of-00001.safetensors")}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    stored = register(store, from_dir=source)
    assert load_file(stored.folder / "model.safetensors").keys() == expected.keys()
    assert not list(stored.folder.glob("*.index.json"))


def test_several_shards_keep_their_names(tmp_path: Path) -> None:
    source, target = write_files(tmp_path / "source", model_safetensors_index_json="{}"), tmp_path / "target"
    for number in (1, 2):
        save_file({f"part.{number}": torch.zeros(2)}, source / f"model-0000{number}-of-00002.safetensors")
    link_weights(source, target)
    assert sorted(target.iterdir()) == sorted(target / path.name for path in source.iterdir())
