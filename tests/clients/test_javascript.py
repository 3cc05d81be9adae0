"""openai-node, ollama-js, @ai-sdk/cohere and fetch with node:test, and the JavaScript examples."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.printed import EXAMPLES, assert_cosines, assert_two_best, run
from tests.clients.reference import Reference
from tests.clients.samples import API_KEY, DOCUMENTS, FULL_NAME, MODEL, QUERY, TEXTS

TESTS = Path(__file__).parent / "javascript"
INSTALL = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
NODE = ("node", "--test", "--test-reporter=tap")
TOKEN_ARRAY = [55381, 4221, 8863, 374, 27387, 13]
"""TEXTS[0] in cl100k_base, by tiktoken 0.14.0."""


@pytest.fixture(scope="module")
def installed() -> None:
    """The newest versions of the clients, for the tests and for the examples."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda folder: run(*INSTALL, folder=folder), (TESTS, EXAMPLES / "javascript")))


@pytest.fixture(scope="module")
def given(servers: dict[str, str], reference: Reference) -> dict[str, str]:
    """The data for given.mjs."""
    expected = {
        "texts": TEXTS,
        "vectors": reference.vectors(TEXTS).tolist(),
        "shortVectors": reference.vectors(TEXTS, 64).tolist(),
        "tokens": reference.tokens(TEXTS),
        "query": QUERY,
        "documents": DOCUMENTS,
        "ranking": reference.ranking(QUERY, DOCUMENTS),
        "tokenArray": TOKEN_ARRAY,
    }
    return {
        "URL_OPEN": servers["open"],
        "URL_GUARDED": servers["guarded"],
        "API_KEY": API_KEY,
        "MODEL": MODEL,
        "FULL_NAME": FULL_NAME,
        "EXPECTED": json.dumps(expected),
    }


FILES = ["openai.test.mjs", "azure.test.mjs", "ollama.test.mjs", "ai_sdk.test.mjs", "fetch.test.mjs"]


@pytest.mark.parametrize("name", FILES)
def test_in_node(installed: None, given: dict[str, str], name: str) -> None:
    printed = run(*NODE, name, folder=TESTS, **given)
    assert re.search(r"^# pass [1-9]", printed, re.MULTILINE)
    assert "# fail 0" in printed


def test_in_node_with_a_full_queue(installed: None, given: dict[str, str], crowded_url: str) -> None:
    assert "# pass 1" in run(*NODE, "crowded.test.mjs", folder=TESTS, **given)


def test_all_javascript_test_files_are_run() -> None:
    assert {path.name for path in TESTS.glob("*.test.mjs")} == {*FILES, "crowded.test.mjs"}


def test_the_example_with_openai(installed: None, url: str, reference: Reference) -> None:
    assert_cosines(run("node", "openai.mjs", folder=EXAMPLES / "javascript", BASE_URL=url, MODEL=MODEL), reference)


def test_the_example_with_fetch(url: str, guarded_url: str, reference: Reference) -> None:
    for settings in ({"BASE_URL": url}, {"BASE_URL": guarded_url, "API_KEY": API_KEY}):
        assert_two_best(run("node", "fetch.mjs", folder=EXAMPLES / "javascript", MODEL=MODEL, **settings), reference)
