"""langchain-openai, langchain-cohere, langchain-ollama and langchain-nvidia-ai-endpoints."""

import asyncio

import cohere
import numpy as np
import openai
import pytest
import tiktoken

from tests.clients.reference import Reference, as_int8, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, JAPANESE, MODEL, QUERY, TEXTS, TOO_LONG

WHY = "only in the environment of all clients, not in the quick one"
documents = pytest.importorskip("langchain_core.documents", reason=WHY)
langchain_openai = pytest.importorskip("langchain_openai", reason=WHY)
langchain_cohere = pytest.importorskip("langchain_cohere", reason=WHY)
langchain_ollama = pytest.importorskip("langchain_ollama", reason=WHY)
nvidia = pytest.importorskip("langchain_nvidia_ai_endpoints", reason=WHY)

PIECE_TOKENS = 8191
"""Maximum number of tokens in one array of langchain-openai."""


class TestOpenAIEmbeddings:
    """Sends arrays of cl100k_base ids by default."""

    @pytest.mark.parametrize("by_tokens", [True, False], ids=["token arrays by default", "texts"])
    def test_embed(self, url: str, reference: Reference, by_tokens: bool) -> None:
        embeddings = langchain_openai.OpenAIEmbeddings(
            model=MODEL, base_url=f"{url}/v1", api_key="unused", check_embedding_ctx_length=by_tokens
        )
        assert_same_vectors(embeddings.embed_documents(TEXTS), reference.vectors(TEXTS))
        assert_same_vectors([embeddings.embed_query(JAPANESE)], reference.vectors([JAPANESE]))

    def test_async_and_dimensions(self, url: str, reference: Reference) -> None:
        embeddings = langchain_openai.OpenAIEmbeddings(
            model=MODEL, base_url=f"{url}/v1", api_key="unused", dimensions=64
        )
        vectors = asyncio.run(embeddings.aembed_documents(TEXTS))
        assert_same_vectors(vectors, reference.vectors(TEXTS, dimensions=64))

    def test_a_long_text_in_pieces(self, url: str, reference: Reference) -> None:
        """The vector is the normalized mean of the pieces' vectors, weighted by their tokens."""
        text = "Cats sleep all day. " * 1800 + "機械学習は人工知能の一分野です。" * 200
        encoding = tiktoken.get_encoding("cl100k_base")
        ids = encoding.encode(text)
        pieces = [ids[start : start + PIECE_TOKENS] for start in range(0, len(ids), PIECE_TOKENS)]
        assert len(pieces) > 1
        vectors = reference.vectors([encoding.decode(piece) for piece in pieces])
        mean = np.average(vectors, axis=0, weights=[len(piece) for piece in pieces])
        embeddings = langchain_openai.OpenAIEmbeddings(model=MODEL, base_url=f"{url}/v1", api_key="unused")
        ours = embeddings.embed_documents([TEXTS[0], text])
        assert_same_vectors(ours, [*reference.vectors(TEXTS[:1]), mean / np.linalg.norm(mean)])

    def test_errors(self, url: str, guarded_url: str) -> None:
        chosen = {"base_url": f"{url}/v1", "api_key": "unused"}
        with pytest.raises(openai.NotFoundError, match="no model of that name"):
            langchain_openai.OpenAIEmbeddings(model="no-such-model", **chosen).embed_query("a")
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            langchain_openai.OpenAIEmbeddings(model=MODEL, dimensions=5000, **chosen).embed_query("a")
        with pytest.raises(openai.BadRequestError, match="the model takes 256"):
            langchain_openai.OpenAIEmbeddings(
                model=MODEL, model_kwargs={"extra_body": {"truncate": False}}, **chosen
            ).embed_query(TOO_LONG)
        with pytest.raises(openai.AuthenticationError, match="API key"):
            langchain_openai.OpenAIEmbeddings(model=MODEL, **chosen | {"base_url": f"{guarded_url}/v1"}).embed_query(
                "a"
            )

    def test_overload(self, crowded_url: str, naps: list[float]) -> None:
        embeddings = langchain_openai.OpenAIEmbeddings(
            model=MODEL, base_url=f"{crowded_url}/v1", api_key=API_KEY, max_retries=1
        )
        with pytest.raises(openai.RateLimitError, match="MAX_QUEUED_TOKENS"):
            embeddings.embed_documents(TEXTS)
        assert len(naps) == 1


class TestCohereEmbeddings:
    """Uses /v1/embed with embedding_types."""

    def test_embed(self, url: str, reference: Reference) -> None:
        embeddings = langchain_cohere.CohereEmbeddings(model=MODEL, base_url=url, cohere_api_key="unused")
        assert_same_vectors(embeddings.embed_documents(TEXTS), reference.vectors(TEXTS))
        assert_same_vectors([embeddings.embed_query(JAPANESE)], reference.vectors([JAPANESE]))
        assert_same_vectors(asyncio.run(embeddings.aembed_documents(TEXTS)), reference.vectors(TEXTS))

    def test_int8(self, url: str, reference: Reference) -> None:
        embeddings = langchain_cohere.CohereEmbeddings(
            model=MODEL, base_url=url, cohere_api_key="unused", embedding_types=["int8"]
        )
        expected = as_int8(reference.vectors(TEXTS))
        np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected, rtol=0, atol=1)

    def test_errors(self, url: str, guarded_url: str) -> None:
        chosen = {"cohere_api_key": "unused", "max_retries": 1}
        with pytest.raises(cohere.NotFoundError, match="no model of that name"):
            langchain_cohere.CohereEmbeddings(model="no-such-model", base_url=url, **chosen).embed_query("a")
        with pytest.raises(cohere.UnauthorizedError, match="API key"):
            langchain_cohere.CohereEmbeddings(model=MODEL, base_url=guarded_url, **chosen).embed_query("a")
        with pytest.raises(cohere.BadRequestError, match="the model takes 256"):
            langchain_cohere.CohereEmbeddings(model=MODEL, base_url=url, truncate="NONE", **chosen).embed_query(
                TOO_LONG
            )


class TestCohereRerank:
    """Uses /v2/rerank."""

    def test_rerank(self, url: str, reference: Reference) -> None:
        reranker = langchain_cohere.CohereRerank(model=MODEL, base_url=url, cohere_api_key="unused", top_n=3)
        expected = reference.ranking(QUERY, DOCUMENTS)
        ours = [(each["index"], each["relevance_score"]) for each in reranker.rerank(DOCUMENTS, QUERY)]
        assert_same_ranking(ours, expected[:3])
        ours = [(each["index"], each["relevance_score"]) for each in reranker.rerank(DOCUMENTS, QUERY, top_n=None)]
        assert_same_ranking(ours, expected)

    def test_compress_documents(self, url: str, reference: Reference) -> None:
        reranker = langchain_cohere.CohereRerank(model=MODEL, base_url=url, cohere_api_key="unused")
        given = [documents.Document(text, metadata={"index": index}) for index, text in enumerate(DOCUMENTS)]
        kept = reranker.compress_documents(given, QUERY)
        ours = [(each.metadata["index"], each.metadata["relevance_score"]) for each in kept]
        assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:3])

    def test_errors(self, url: str, guarded_url: str) -> None:
        with pytest.raises(cohere.NotFoundError, match="no model of that name"):
            langchain_cohere.CohereRerank(model="no-such-model", base_url=url, cohere_api_key="x").rerank(["a"], "b")
        with pytest.raises(cohere.UnauthorizedError, match="API key"):
            langchain_cohere.CohereRerank(model=MODEL, base_url=guarded_url, cohere_api_key="x").rerank(["a"], "b")


def test_azure_openai_embeddings(guarded_url: str, reference: Reference) -> None:
    embeddings = langchain_openai.AzureOpenAIEmbeddings(
        model=MODEL, azure_endpoint=guarded_url, api_version="2024-10-21", api_key=API_KEY
    )
    assert_same_vectors([embeddings.embed_query("a")], reference.vectors(["a"]))


def test_ollama_embeddings(url: str, reference: Reference) -> None:
    embeddings = langchain_ollama.OllamaEmbeddings(model=MODEL, base_url=url, validate_model_on_init=True)
    assert_same_vectors(embeddings.embed_documents(TEXTS), reference.vectors(TEXTS))
    assert_same_vectors([embeddings.embed_query(JAPANESE)], reference.vectors([JAPANESE]))
    assert_same_vectors(asyncio.run(embeddings.aembed_documents(TEXTS)), reference.vectors(TEXTS))
    short = langchain_ollama.OllamaEmbeddings(model=f"{MODEL}:latest", base_url=url, dimensions=64)
    assert_same_vectors(short.embed_documents(TEXTS), reference.vectors(TEXTS, dimensions=64))


class TestNvidia:
    """NIM's embeddings and rankings."""

    def test_embed(self, url: str, reference: Reference) -> None:
        embeddings = nvidia.NVIDIAEmbeddings(model=MODEL, base_url=f"{url}/v1")
        assert_same_vectors(embeddings.embed_documents(TEXTS), reference.vectors(TEXTS))
        assert_same_vectors([embeddings.embed_query(JAPANESE)], reference.vectors([JAPANESE]))

    def test_rank(self, url: str, reference: Reference) -> None:
        ranker = nvidia.NVIDIARerank(model=MODEL, base_url=f"{url}/v1", top_n=2)
        given = [documents.Document(text, metadata={"index": index}) for index, text in enumerate(DOCUMENTS)]
        kept = ranker.compress_documents(given, QUERY)
        ours = [(each.metadata["index"], (1 + each.metadata["relevance_score"]) / 2) for each in kept]  # cosines
        assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:2])
