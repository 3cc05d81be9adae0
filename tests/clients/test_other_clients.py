"""Small clients: zeroentropy, xinference_client and rerankers; and requests of Continue, Pinecone and NIM."""

import httpx
import pytest
import zeroentropy
from rerankers.models.api_rankers import APIRanker
from xinference_client import RESTfulClient

from tests.clients.reference import Reference, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, MODEL, QUERY, TEXTS


def test_zeroentropy(url: str, guarded_url: str, reference: Reference) -> None:
    client = zeroentropy.ZeroEntropy(api_key="unused", base_url=f"{url}/v1", max_retries=0)
    answer = client.models.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2, latency="fast")
    ours = [(each.index, each.relevance_score) for each in answer.results]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:2])
    with pytest.raises(zeroentropy.AuthenticationError, match="API key"):
        zeroentropy.ZeroEntropy(api_key="wrong", base_url=f"{guarded_url}/v1").models.rerank(
            model=MODEL, query=QUERY, documents=DOCUMENTS
        )


def test_xinference(url: str, reference: Reference) -> None:
    client = RESTfulClient(url)
    assert client.list_models()[MODEL]["model_type"] == "embedding"
    model = client.get_model(MODEL)
    answer = model.create_embedding(TEXTS)
    assert_same_vectors([entry["embedding"] for entry in answer["data"]], reference.vectors(TEXTS))


RERANKERS = {
    "cohere": "/v1/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
    "mixedbread.ai": "/v1/reranking",
    "pinecone": "/rerank",
    "text-embeddings-inference": "/rerank",
}
"""Provider of rerankers -> the path of the URL."""


@pytest.mark.parametrize(("provider", "path"), RERANKERS.items())
def test_rerankers(guarded_url: str, reference: Reference, provider: str, path: str) -> None:
    ranker = APIRanker(MODEL, API_KEY, provider, verbose=0, url=guarded_url + path)
    found = ranker.rank(QUERY, DOCUMENTS[:1], doc_ids=[0])
    assert_same_vectors([each.score for each in found.results], reference.scores(QUERY, DOCUMENTS[:1]))


def test_continue_reads_data_without_a_field_of_voyage(url: str, reference: Reference) -> None:
    body = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
    data = httpx.post(f"{url}/v1/rerank", json=body).json()["data"]
    assert_same_ranking(
        [(each["index"], each["relevance_score"]) for each in data], reference.ranking(QUERY, DOCUMENTS)
    )
