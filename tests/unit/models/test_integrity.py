"""A stored model that is damaged, or that the catalogue means otherwise by now, is told, refused and repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from errors import ModelUnavailableError
from models.integrity import MANIFEST, find_difference, find_flaw, is_whole, repair_command, write_manifest
from models.store import ModelStore, StoredModel
from tests.unit.checkpoints import REPO, WANTED, register
from tests.unit.fakes import facts, spec, write_files

LARGE = 200_000


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def zero(path: Path) -> None:
    """The size is right and the content is gone, as after a power failure."""
    path.write_bytes(bytes(path.stat().st_size))


def zero_the_tail(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(path.stat().st_size - file.tell()))


def flip_one_bit(path: Path) -> None:
    """Between two samples."""
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


Damage = Callable[[Path], None]
DAMAGES: list[Damage] = [Path.unlink, truncate, zero, zero_the_tail]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damage_is_noticed_at_load_and_repaired_by_an_import(
    store: ModelStore, models_dir: Path, damage: Damage, name: str
) -> None:
    """The folder from which it came is still there."""
    stored = register(store, models_dir=models_dir)
    assert find_flaw(WANTED, stored) is None
    damage(stored.folder / name)
    assert find_flaw(WANTED, stored) == f"{name} in {stored.folder} is damaged or missing"
    assert register(store, models_dir=models_dir) == stored
    assert find_flaw(WANTED, stored, thorough=True) is None
    assert store.list() == [stored]


def test_a_single_bit_is_found_by_digests_and_repaired(store: ModelStore, models_dir: Path) -> None:
    stored = register(store, models_dir=models_dir)
    flip_one_bit(stored.folder / "model.safetensors")
    assert "model.safetensors" in (find_flaw(WANTED, stored, thorough=True) or "")
    register(store, models_dir=models_dir)
    assert find_flaw(WANTED, stored, thorough=True) is None


def test_a_damaged_version_goes_when_another_one_takes_its_place(store: ModelStore, models_dir: Path) -> None:
    stored = register(store, models_dir=models_dir)
    truncate(stored.folder / "config.json")
    (folder,) = models_dir.iterdir()
    (folder / "README.md").write_text("another version")
    repaired = register(store, models_dir=models_dir)
    assert repaired.tag != stored.tag
    assert store.list() == [repaired]


def test_a_model_from_a_folder_is_not_repaired_with_the_hubs_weights(store: ModelStore, checkpoint: Path) -> None:
    """They may be others, and nobody would notice."""
    stored = register(store, from_dir=checkpoint)
    truncate(stored.folder / "model.safetensors")
    with pytest.raises(ModelUnavailableError) as raised:
        register(store)
    assert "model.safetensors" in raised.value.message
    assert "./embeddings import tiny --from-dir FOLDER" in raised.value.message
    assert store.list() == [stored]


def test_a_repair_that_fails_names_the_damage_too(store: ModelStore) -> None:
    staging = store.staging(WANTED)
    (staging / "config.json").write_text("{}")
    known = facts(repo=REPO, sha256={"config.json": "00"})
    stored = store.register(staging, known, {})
    with pytest.raises(ModelUnavailableError) as raised:
        register(store)
    assert raised.value.message.startswith(
        f"tiny must be imported again: config.json in {stored.folder} is damaged or missing. Downloading {REPO} from "
    )
    assert store.list() == [stored]


def test_a_packaged_model_is_repaired_by_its_plain_command() -> None:
    stored = StoredModel("it", Path("/nowhere"), facts(revision="local-1"))
    assert repair_command(spec(package="some_package"), stored) == "./embeddings import tiny"


CHANGES = [
    ({"max_tokens": 16}, "max_tokens null", "max_tokens 16"),
    ({"pooling": "cls"}, 'pooling "mean"', 'pooling "cls"'),
    ({"tokenizer": {"lower_case": True}}, '"lower_case": false', '"lower_case": true'),
]


@pytest.mark.parametrize(("changed", "was", "now"), CHANGES)
def test_what_the_catalogue_says_otherwise_is_noticed_and_applied(
    store: ModelStore, models_dir: Path, changed: dict[str, object], was: str, now: str
) -> None:
    """EXTRA_CATALOG with a block for a model that is stored already."""
    stored = register(store, models_dir=models_dir)
    wanted = spec(**({"repo": REPO, "pooling": "mean"} | changed))
    reason = find_flaw(wanted, stored)
    assert reason is not None
    before, after = reason.split(", but the catalogue now has ")
    assert was in before
    assert now in after
    again = register(store, wanted, models_dir=models_dir)
    assert find_flaw(wanted, again) is None
    if "max_tokens" in changed:
        assert again.facts.max_tokens == 16


def test_what_is_read_at_every_start_needs_no_import(store: ModelStore, checkpoint: Path) -> None:
    stored = register(store, from_dir=checkpoint)
    wanted = spec(repo=REPO, pooling="mean", prompts={"query": "query: "}, aliases=["other"], note="changed")
    assert find_flaw(wanted, stored) is None


def test_another_revision_is_noticed() -> None:
    stored = StoredModel("it", Path("/nowhere"), facts(revision="a" * 40))
    assert find_difference(spec(revision="a" * 40), stored) is None
    assert find_difference(spec(), stored) is None
    assert find_difference(spec(revision="b" * 40), stored) == (
        f"it is revision {'a' * 12}, but the catalogue has {'b' * 12}"
    )
    local = StoredModel("it", Path("/nowhere"), facts(revision="local-1"))
    assert find_difference(spec(revision="b" * 40), local) is None


def test_what_an_earlier_version_stored_is_served() -> None:
    """It recorded neither fingerprints nor what the catalogue said."""
    assert find_flaw(spec(pooling="cls"), StoredModel("it", Path("/nowhere"), facts())) is None


def test_a_manifest_describes_a_folder(tmp_path: Path) -> None:
    write_files(tmp_path, body_xml="<net/>", report_json="{}")
    (tmp_path / "body.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    assert is_whole(tmp_path)  # what an earlier version wrote has none
    write_manifest(tmp_path)
    assert is_whole(tmp_path)
    assert is_whole(tmp_path, thorough=True)
    flip_one_bit(tmp_path / "body.bin")
    assert not is_whole(tmp_path, thorough=True)
    truncate(tmp_path / "body.bin")
    assert not is_whole(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": []}'])
def test_a_damaged_manifest_vouches_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    assert not is_whole(tmp_path)
