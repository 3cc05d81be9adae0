"""BentoML's clients, which read the two APIs from the service's schema."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import bentoml
import numpy as np
import pytest
from bentoml.exceptions import BentoMLException

from tests.clients import expected
from tests.clients.samples import DOCUMENTS, MODEL, QUERY, TEXTS
from tests.serving import Served
from tests.tolerance import openvino_precision, unit_atol

ATOL = unit_atol(openvino_precision())


@pytest.fixture
def sync_client(served: Served) -> Iterator[Any]:
    """A client that has fetched the schema."""
    with bentoml.SyncHTTPClient(served.url) as client, clean(client):
        yield client


@contextlib.contextmanager
def clean(client: Any) -> Iterator[None]:
    """Remove the client's temporary folder; the garbage collector would warn about it."""
    yield
    client._temp_dir.cleanup()


def test_embeddings(sync_client: Any) -> None:
    answer = sync_client.embeddings({"model": MODEL, "input": TEXTS})
    vectors = [entry["embedding"] for entry in answer["data"]]
    np.testing.assert_allclose(vectors, expected.vectors(TEXTS), rtol=0, atol=ATOL)


def test_rerank(sync_client: Any) -> None:
    answer = sync_client.rerank(
        {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True}
    )
    scores = expected.scores(QUERY, DOCUMENTS)
    assert [(each["index"], each["document"]) for each in answer["results"]] == [(0, DOCUMENTS[0]), (2, DOCUMENTS[2])]
    found = [each["relevance_score"] for each in answer["results"]]
    np.testing.assert_allclose(found, [scores[0], scores[2]], rtol=0, atol=ATOL)


def test_async(served: Served) -> None:
    async def ask() -> Any:
        async with bentoml.AsyncHTTPClient(served.url) as client:
            with clean(client):
                return await asyncio.gather(*[client.embeddings({"model": MODEL, "input": text}) for text in TEXTS])

    vectors = [answer["data"][0]["embedding"] for answer in asyncio.run(ask())]
    np.testing.assert_allclose(vectors, expected.vectors(TEXTS), rtol=0, atol=ATOL)


def test_errors(sync_client: Any) -> None:
    with pytest.raises(BentoMLException, match="no model of that name") as caught:
        sync_client.embeddings({"model": "no-such-model", "input": TEXTS})
    assert caught.value.error_code == 404
    with pytest.raises(BentoMLException, match="at least 1 character") as caught:
        sync_client.embeddings({"model": MODEL, "input": [""]})
    assert caught.value.error_code == 400


def test_probes(sync_client: Any) -> None:
    assert sync_client.is_ready()
