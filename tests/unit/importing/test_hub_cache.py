"""HF_HUB_OFFLINE: models from the cache of Hugging Face's own tools, and no request."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from errors import ModelUnavailableError
from importing.conversion.checkpoint import link_weights
from importing.hub_cache import cached_snapshot, is_offline
from importing.registration import register_checkpoint
from models.catalog import ModelSpec
from models.store import ModelStore, StoredModel
from settings import load_settings
from tests.tiny import build
from tests.unit.fakes import spec

REPO = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "c" * 40
WANTED = spec(repo=REPO, pooling="mean")


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
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return Cache(tmp_path / "hub", build(REPO, tmp_path / "checkpoint"))


def run(tmp_path: Path, wanted: ModelSpec = WANTED) -> StoredModel:
    """An import whose Hub is a port that nothing listens on."""
    settings = load_settings(
        {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "RERANKER_MODELS_DIR": "/nowhere"}
    )
    store = ModelStore(tmp_path / "home")
    return register_checkpoint(wanted, store=store, settings=settings, check=lambda *_: None, progress=lambda *_: None)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_model_comes_from_the_cache(cache: Cache, tmp_path: Path, revision: str | None) -> None:
    stored = run(tmp_path, spec(repo=REPO, pooling="mean", revision=revision))
    assert stored.facts.revision == COMMIT
    weights = stored.folder / "model.safetensors"
    assert not weights.is_symlink()
    assert weights.stat().st_ino != (cache.snapshot / weights.name).stat().st_ino


def test_transformers_offline_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_offline(load_settings({}))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the client reads both variables into this one
    assert is_offline(load_settings({}))


def refused(wanted: ModelSpec = WANTED) -> str:
    with pytest.raises(ModelUnavailableError) as raised:
        cached_snapshot(wanted)
    return raised.value.message


def test_another_commit_is_not_taken(cache: Cache) -> None:
    message = refused(spec(repo=REPO, revision="d" * 40))
    assert "missing: config.json, model.safetensors" in message
    assert message.endswith(f"hf download {REPO} --revision {'d' * 40}")


def test_a_model_that_was_never_downloaded(cache: Cache) -> None:
    assert f"hf download {REPO}-other" in refused(spec(repo=f"{REPO}-other"))


def test_a_reference_that_is_no_commit(cache: Cache) -> None:
    (cache.place / "refs" / "main").write_text("../../..")
    assert "missing: config.json" in refused()


def test_weights_that_are_not_there(cache: Cache) -> None:
    for weights in (*cache.snapshot.glob("*.safetensors"), *cache.snapshot.glob("*.bin")):
        weights.unlink()
    assert "missing: model.safetensors" in refused()


def test_a_shard_that_is_not_there(cache: Cache) -> None:
    (cache.snapshot / "model.safetensors").rename(cache.snapshot / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    cache.add("model.safetensors.index.json", json.dumps({"weight_map": shards}).encode())
    assert "missing: model-00002-of-00002.safetensors" in refused()
    cache.add("model.safetensors.index.json", b"{")
    assert "missing: a readable model.safetensors.index.json" in refused()


def test_a_damaged_blob(cache: Cache) -> None:
    blob = (cache.snapshot / "model.safetensors").resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    assert "model.safetensors is damaged in the Hugging Face cache" in refused()


def test_a_repository_with_one_shard_and_an_index(tmp_path: Path) -> None:
    """Nobody reads model-00001-of-00001.safetensors without its index, and nobody needs the index."""
    source = build(REPO, tmp_path / "checkpoint")
    expected = load_file(source / "model.safetensors")
    (source / "model.safetensors").rename(source / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(expected, "model-00001-of-00001.safetensors")}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    settings = load_settings({"RERANKER_MODELS_DIR": "/nowhere"})
    stored = register_checkpoint(
        WANTED,
        store=ModelStore(tmp_path / "home"),
        settings=settings,
        check=lambda *_: None,
        progress=lambda *_: None,
        from_dir=source,
    )
    assert load_file(stored.folder / "model.safetensors").keys() == expected.keys()
    assert not list(stored.folder.glob("*.index.json"))


def test_several_shards_keep_their_names(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    expected = list(load_file(build(REPO, tmp_path / "checkpoint") / "model.safetensors").items())
    for number, part in enumerate((expected[:3], expected[3:]), 1):
        save_file(dict(part), source / f"model-0000{number}-of-00002.safetensors")
    (source / "model.safetensors.index.json").write_text("{}")
    link_weights(source, target)
    names = {path.name for path in target.iterdir()}
    assert names == {path.name for path in source.iterdir()}
