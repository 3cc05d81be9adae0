"""The catalogue: a typo stops the start with its place, names are found, extra files add and replace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from errors import ModelNotFoundError
from models.catalog import Catalog, CatalogError, ModelSpec, load_catalog
from tests.unit.fakes import spec

BLOCK = {"name": "mine", "repo": "acme/Mine", "kind": "embedding"}
SCORING = {"prefix": "", "body": "{query}{document}", "suffix": "", "yes": "1"}


def extra(tmp_path: Path, *blocks: dict[str, Any], name: str = "extra.yaml") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump({"models": list(blocks)}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("asked", "offered"),
    [("bge-m33", "bge-m3"), ("BAAI/bge-m", "bge-m3"), ("ruri_large", "ruri-large"), ("e5base", "e5-base")],
)
def test_an_unknown_name_offers_the_nearest(asked: str, offered: str) -> None:
    with pytest.raises(ModelNotFoundError, match=rf"Did you mean .*\b{offered}\b") as raised:
        load_catalog().get(asked)
    assert raised.value.param == "model"
    assert asked not in raised.value.message.split()


@pytest.mark.parametrize("asked", ["", "?", "日本語の名前", "x" * 100_000])
def test_a_name_that_is_like_no_other_offers_none(asked: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"^There is no model of that name\. GET /models"):
        load_catalog().get(asked)


def test_an_extra_file_adds_and_replaces(tmp_path: Path) -> None:
    catalog = load_catalog(extra(tmp_path, BLOCK, BLOCK | {"name": "BGE-M3", "repo": "BAAI/bge-m3", "note": "ours"}))
    assert catalog.get("mine").group == "custom"
    assert catalog.get("bge-m3").note == "ours"
    assert len(list(catalog)) == len(list(load_catalog())) + 1


def test_one_name_for_two_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"two models have the name 'baai/bge-m3': BAAI/bge-m3 and BAAI/BGE-M3"):
        load_catalog(extra(tmp_path, BLOCK | {"repo": "BAAI/BGE-M3"}))
    with pytest.raises(CatalogError, match="two models have the name 'bge-m3'"):
        load_catalog(extra(tmp_path, BLOCK | {"aliases": ["bge-m3"]}))
    with pytest.raises(CatalogError, match=r"extra\.yaml: .*mine"):
        load_catalog(extra(tmp_path, BLOCK, BLOCK | {"name": "Mine", "repo": "acme/Other"}))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"poolng": "mean"}, "poolng"),
        ({"kind": "embedder"}, "kind"),
        ({"repo": "no-slash"}, "repo"),
        ({"repo": "a/../b"}, "repo"),
        ({"name": "../etc"}, "name"),
        ({"revision": "main"}, "revision"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"pooling": "max"}, "pooling"),
        ({"tokenizer": {"lowercase": True}}, "tokenizer.lowercase"),
        ({"scoring": {"prefix": ""}}, "scoring.body"),
        ({"conversion": "magic"}, "conversion"),
        ({"prompts": {"query": 1}}, "prompts.query"),
        ({"languages": "ja"}, "languages"),
    ],
)
def test_a_typo_names_the_file_the_block_and_the_key(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    path = extra(tmp_path, BLOCK | {"name": "fine", "repo": "acme/Fine"}, BLOCK | change)
    title = change.get("name", "mine")
    with pytest.raises(CatalogError) as raised:
        load_catalog(path)
    assert str(raised.value).startswith(f"{path}: block 2 ({title}), key '{key}': ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "reranker", "pooling": "cls"}, "a reranker has no pooling"),
        ({"kind": "reranker", "dimensions": 8}, "a reranker has no pooling, dimensions"),
        ({"matryoshka": [8]}, "matryoshka width 8 is not below dimensions None"),
        ({"dimensions": 8, "matryoshka": [4, 8]}, "matryoshka width 8"),
        ({"prompts": {"query": "{instruction}: "}}, "no instruction is given"),
        ({"kind": "reranker", "scoring": SCORING | {"body": "{query}"}}, "body needs {query} and then {document}"),
        ({"kind": "reranker", "scoring": SCORING | {"body": "{document}{query}"}}, "body needs {query} and then"),
        ({"kind": "reranker", "scoring": SCORING | {"separator": "\n"}}, "separator is not between"),
        ({"kind": "reranker", "scoring": SCORING, "instruction": "Judge"}, "scoring has no {instruction}"),
        ({"kind": "reranker", "scoring": SCORING | {"instruction_prompt": "!"}}, "instruction_prompt needs"),
        ({"scoring": SCORING}, "scoring is for rerankers"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(CatalogError, match=reason):
        load_catalog(extra(tmp_path, BLOCK | change))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"models: {}", b"models: []\nversion: 1", b"model: []", b"models: [", b"models: [3]"),
        b"\xff\xfe\x00",
        b"models: !!python/object/apply:os.getcwd []",  # YAML cannot run code
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "extra.yaml"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"^.*extra\.yaml"):
        load_catalog(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"absent\.yaml: cannot be read \(No such file"):
        load_catalog(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("asked", "side"),
    [
        *(("bge-m3", None), ("BGE-M3", None), ("baai/BGE-M3", None), (" bge-m3 ", None)),
        *(("bge-m3:query", "query"), ("BAAI/bge-m3:Document", "document"), (" bge-m3:query ", "query")),
    ],
)
def test_names_are_found_whatever_their_case_and_a_suffix_is_a_side_of_the_search(asked: str, side: str | None) -> None:
    found, suffix = load_catalog().resolve(asked)
    assert (found.repo, suffix) == ("BAAI/bge-m3", side)


@pytest.mark.parametrize("asked", ["bge-m3:passage", "bge-m3:", ":query", "absent:query"])
def test_any_other_suffix_is_an_unknown_name(asked: str) -> None:
    with pytest.raises(ModelNotFoundError):
        load_catalog().resolve(asked)


def test_an_alias_is_a_name_also_with_such_an_ending_of_its_own() -> None:
    found, side = Catalog([spec(aliases=["Other:query"])]).resolve("other:query")
    assert (found.name, side) == ("tiny", None)


def block(repo: str, **fields: Any) -> ModelSpec:
    """A block from a repository."""
    return spec(name="unknown", repo=repo, from_repository=True, **fields)


def test_stored_models_are_listed_under_their_full_name_and_the_last_part_of_it() -> None:
    blocks = [block("acme/Mine"), block("other/Mine"), block("acme/tiny"), block("acme/_dot")]
    listed = [spec(name="tiny", repo="first/Tiny"), spec(name="listed", repo="acme/listed")]
    catalog = Catalog(listed, lambda: blocks).with_aliases([("small", "tiny")])
    assert [(found.name, found.repo) for found in catalog] == [
        ("tiny", "first/Tiny"),
        ("listed", "acme/listed"),
        ("Mine", "acme/Mine"),
        ("other--Mine", "other/Mine"),
        ("acme--tiny", "acme/tiny"),
        ("acme--_dot", "acme/_dot"),
    ]
    assert catalog.get("mine").repo == "acme/Mine"
    assert catalog.get("OTHER/mine").repo == "other/Mine"
    blocks.append(block("acme/listed"))  # a catalogue lists it now
    blocks.append(block("acme/New"))
    assert catalog.resolve("new:query") == (catalog.get("acme/New"), "query")
    del blocks[:]
    assert len(list(catalog)) == 2


def test_a_side_in_the_name_of_a_known_model_does_not_read_the_store() -> None:
    def read() -> tuple[ModelSpec, ...]:
        raise AssertionError("the store was read")

    assert Catalog([spec()], read).resolve(f"{spec().name}:query") == (spec(), "query")


def test_the_full_name_of_a_repository_is_enough_for_an_import() -> None:
    catalog = load_catalog()
    assert catalog.get_or_unlisted("baai/bge-m3").name == "bge-m3"
    found = catalog.get_or_unlisted("acme/bge-m3")
    assert (found.name, found.repo, found.from_repository) == ("acme--bge-m3", "acme/bge-m3", True)
    assert catalog.get_or_unlisted("acme/New").name == "New"
    assert catalog.get_or_unlisted("acme/New/query").name == "New--query"
    for name in ("New", "a/b/c/d", "a/b/..", "/x", "acme/", "../x"):
        with pytest.raises(ModelNotFoundError):
            catalog.get_or_unlisted(name)


def test_the_default_prompt_must_exist(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="default_prompt 'query' is not in prompts"):
        load_catalog(extra(tmp_path, BLOCK | {"default_prompt": "query"}))


def test_settings_may_give_models_more_names() -> None:
    catalog = load_catalog().with_aliases(
        [("text-embedding-3-small", "BAAI/bge-m3"), ("ada", "bge-m3"), ("b", "e5-base")]
    )
    for asked in ("text-embedding-3-small", "Text-Embedding-3-Small", "ada"):
        assert catalog.get(asked).name == "bge-m3"
    assert catalog.resolve("b:query") == (catalog.get("e5-base"), "query")
    assert catalog.get("bge-m3").aliases[-2:] == ("text-embedding-3-small", "ada")
    assert [each.name for each in catalog] == [each.name for each in load_catalog()]


@pytest.mark.parametrize(
    ("aliases", "reason"),
    [
        ([("BGE-m3", "e5-base")], "^MODEL_ALIASES: BGE-m3=e5-base: 'BGE-m3' is the name of a model"),
        ([("ada", "absent")], "^MODEL_ALIASES: ada=absent: there is no model 'absent'"),
        ([("ada", "e5-base"), ("ADA", "bge-m3")], "two models have the name 'ada'"),
    ],
)
def test_an_alias_that_is_wrong_is_named(aliases: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(CatalogError, match=reason):
        load_catalog().with_aliases(aliases)
