"""The store: what is registered is found, and nothing else is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import bentoml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalog import ModelSpec
from models.facts import FORMAT, ModelFacts
from models.store import MODEL_YAML, ModelStore, StoredModel, open_catalog, tag_name, version
from settings import Settings
from tests.unit.fakes import facts, spec

REPOS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}/[A-Za-z0-9_.-]{1,58}", fullmatch=True)
PINNED = "a" * 40


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


def register(store: ModelStore, known: ModelFacts, wanted: ModelSpec | None = None, content: str = "x") -> StoredModel:
    staging = store.staging(wanted or spec())
    (staging / "model.safetensors").write_text(content)
    return store.register(staging, known, {"kind": "embedding"})


@given(repo=REPOS)
def test_a_tag_is_one_that_bentoml_takes(repo: str) -> None:
    name = tag_name(repo)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9._-]+", name)
    assert name == tag_name(repo.upper())


def test_tags_read_like_the_repository_and_long_ones_stay_apart() -> None:
    assert tag_name("BAAI/bge-m3") == "baai--bge-m3"
    first, second = (tag_name(f"acme/{'x' * 80}{end}") for end in "ab")
    assert len({first, second}) == 2
    assert version("local-" + "b" * 40) == "b" * 12


def test_a_registered_model_is_found_and_listed(store: ModelStore) -> None:
    known = facts(revision=PINNED, dense=("2_Dense",), closing_ids=(2,), sha256={"model.safetensors": "00"})
    stored = register(store, known)
    assert stored == StoredModel(f"acme--tiny:{'a' * 12}", store.models / "acme--tiny" / ("a" * 12), known)
    half_made = store.staging(spec(repo="acme/Half"))
    (half_made / MODEL_YAML).write_text("name: acme--half")
    assert store.find(spec()) == stored
    assert store.find(spec(repo="acme/Half")) is None
    assert store.remove(spec(repo="acme/Half")) == 0
    assert store.list() == [stored]
    assert (stored.folder / "model.safetensors").read_text() == "x"
    assert list(store.work.iterdir()) == [half_made]


def test_bentomls_own_store_reads_what_was_registered(tmp_path: Path) -> None:
    store = ModelStore()
    wanted = spec(repo="acme/Read-By-BentoML")
    stored = register(store, facts(repo=wanted.repo), wanted)
    try:
        model = bentoml.models.get(stored.tag)
        assert (Path(model.path), model.info.labels) == (stored.folder, {"kind": "embedding"})
        assert bentoml.models.get("acme--read-by-bentoml:latest").tag == model.tag
    finally:
        store.remove(wanted)


def test_the_pinned_revision_is_preferred_and_else_the_newest(store: ModelStore) -> None:
    register(store, facts(revision=PINNED))
    newer = register(store, facts(revision="b" * 40))
    os.utime(newer.folder / MODEL_YAML, (2e9, 2e9))
    found = [store.find(spec(revision=revision)) for revision in (PINNED, "b" * 40, "c" * 40, None)]
    assert [stored.facts.revision[0] if stored else "" for stored in found] == ["a", "b", "b", "b"]


def test_the_same_revision_again_replaces_the_first(store: ModelStore) -> None:
    register(store, facts(), content="old")
    stored = register(store, facts(), content="new")
    assert store.list() == [stored]
    assert (stored.folder / "model.safetensors").read_text() == "new"
    assert list(store.work.iterdir()) == []


def test_a_version_is_parsed_again_only_if_its_file_changed(store: ModelStore) -> None:
    first = register(store, facts(revision=PINNED))
    found = store.find(spec())
    assert found is store.find(spec()) is store.list()[0]
    file = first.folder / MODEL_YAML
    file.write_text(file.read_text().replace(f"revision: {PINNED}", f"revision: {'b' * 40}"))
    os.utime(file, (2e9, 2e9))
    changed = store.find(spec())
    assert changed is not None
    assert changed.facts.revision == "b" * 40


def test_remove_deletes_every_version(store: ModelStore) -> None:
    other = spec(name="other", repo="acme/Other")
    kept = register(store, facts(repo=other.repo), other)
    for revision in (PINNED, "b" * 40):
        register(store, facts(revision=revision))
    assert store.remove(spec()) == 2
    assert store.find(spec()) is None
    assert store.list() == [kept]


@pytest.mark.parametrize(
    "content",
    [None, "", "name: [", "text", "- a list", "name: acme--tiny\nversion: broken", "\x00", "!!python/name:os.system"],
    ids=["absent", "empty", "cut off", "text", "list", "keys missing", "binary", "code"],
)
def test_a_broken_folder_is_passed_over(store: ModelStore, content: str | None) -> None:
    stored = register(store, facts())
    broken = store.models / "acme--tiny" / "broken"
    broken.mkdir()
    if content is not None:
        (broken / MODEL_YAML).write_text(content)
    (store.models / "a file").write_text("")
    assert store.find(spec()) == stored
    assert store.list() == [stored]


def test_a_model_of_another_format_is_passed_over_and_replaced(store: ModelStore) -> None:
    register(store, facts(format=FORMAT + 1))
    assert store.find(spec()) is None
    stored = register(store, facts())
    assert store.list() == [stored]


def test_a_model_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    store = ModelStore()
    with bentoml.models.create("foreign-model:1", module="", signatures={}) as model:
        Path(model.path, "weights").write_text("x")
    try:
        assert not [stored.tag for stored in store.list() if "foreign" in stored.tag]
    finally:
        bentoml.models.delete("foreign-model:1")


def test_blocks_of_repositories_are_read_from_the_store(store: ModelStore) -> None:
    mine = spec(name="Mine", repo="acme/Mine", from_repository=True)
    register(store, facts(), spec())
    assert store.blocks() == ()
    register(store, facts(repo=mine.repo, block=mine.model_dump_json(exclude_defaults=True)), mine)
    assert store.blocks() == (mine,)
    assert store.blocks() == (mine,)
    names = Settings(model_aliases=(("ada", "acme/Mine"), ("small", "bge-m3")))
    assert [open_catalog(names, store).get(name).repo for name in ("ada", "small")] == ["acme/Mine", "BAAI/bge-m3"]
    store.remove(mine)
    assert store.blocks() == ()
