"""haystack: embedders of OpenAI and Azure, and components of its integrations for Jina, Ollama, NVIDIA and TEI."""

import asyncio
from typing import Any

import numpy as np
import openai
import pytest

from tests.clients.reference import Reference, assert_same_ranking, assert_same_vectors
from tests.clients.samples import API_KEY, DOCUMENTS, JAPANESE, MODEL, QUERY, TEXTS

WHY = "only in the environment of all clients, not in the quick one"
haystack = pytest.importorskip("haystack", reason=WHY)
embedders = pytest.importorskip("haystack.components.embedders", reason=WHY)
jina_embedders = pytest.importorskip("haystack_integrations.components.embedders.jina", reason=WHY)
jina_rankers = pytest.importorskip("haystack_integrations.components.rankers.jina", reason=WHY)
ollama_embedders = pytest.importorskip("haystack_integrations.components.embedders.ollama", reason=WHY)
nvidia_embedders = pytest.importorskip("haystack_integrations.components.embedders.nvidia", reason=WHY)
nvidia_rankers = pytest.importorskip("haystack_integrations.components.rankers.nvidia", reason=WHY)
tei_embedders = pytest.importorskip("haystack_integrations.components.embedders.huggingface_api", reason=WHY)


def secret(key: str = "unused") -> Any:
    """An API key for haystack."""
    return haystack.utils.Secret.from_token(key)


def documents(texts: list[str]) -> list[Any]:
    """haystack's documents."""
    return [haystack.Document(content=text, meta={"index": index}) for index, text in enumerate(texts)]


def test_openai_embedders(url: str, reference: Reference) -> None:
    options = {"api_key": secret(), "model": MODEL, "api_base_url": f"{url}/v1"}
    answer = embedders.OpenAITextEmbedder(**options).run(JAPANESE)
    assert_same_vectors([answer["embedding"]], reference.vectors([JAPANESE]))
    assert answer["meta"]["usage"]["prompt_tokens"] == reference.tokens([JAPANESE])
    answer = embedders.OpenAIDocumentEmbedder(**options, progress_bar=False).run(documents(TEXTS))
    assert_same_vectors([each.embedding for each in answer["documents"]], reference.vectors(TEXTS))
    text_embedder = embedders.OpenAITextEmbedder(**options, dimensions=64)
    answer = asyncio.run(text_embedder.run_async(JAPANESE))
    assert_same_vectors([answer["embedding"]], reference.vectors([JAPANESE], dimensions=64))


def test_openai_embedders_errors(url: str, guarded_url: str) -> None:
    options = {"api_key": secret(), "api_base_url": f"{url}/v1"}
    with pytest.raises(openai.NotFoundError, match="no model of that name"):
        embedders.OpenAITextEmbedder(model="no-such-model", **options).run("a")
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        embedders.OpenAIDocumentEmbedder(
            model=MODEL, dimensions=5000, progress_bar=False, raise_on_failure=True, **options
        ).run(documents(["a"]))
    with pytest.raises(openai.AuthenticationError, match="API key"):
        embedders.OpenAITextEmbedder(model=MODEL, api_key=secret(), api_base_url=f"{guarded_url}/v1").run("a")


def test_openai_embedders_overload(crowded_url: str, naps: list[float]) -> None:
    embedder = embedders.OpenAITextEmbedder(
        api_key=secret(API_KEY), model=MODEL, api_base_url=f"{crowded_url}/v1", max_retries=1
    )
    with pytest.raises(openai.RateLimitError, match="MAX_QUEUED_TOKENS"):
        embedder.run(TEXTS[0])
    assert len(naps) == 1


def test_jina_embedders(url: str, reference: Reference) -> None:
    options = {"api_key": secret(), "model": MODEL, "base_url": f"{url}/v1/embeddings"}
    answer = jina_embedders.JinaTextEmbedder(**options, task="retrieval.query").run(JAPANESE)
    assert_same_vectors([answer["embedding"]], reference.vectors([JAPANESE]))
    embedder = jina_embedders.JinaDocumentEmbedder(
        **options, task="retrieval.passage", dimensions=64, progress_bar=False
    )
    answer = embedder.run(documents(TEXTS))
    assert_same_vectors([each.embedding for each in answer["documents"]], reference.vectors(TEXTS, dimensions=64))


@pytest.mark.parametrize("top_k", [None, 2])
def test_jina_ranker(url: str, reference: Reference, top_k: int | None) -> None:
    ranker = jina_rankers.JinaRanker(api_key=secret(), model=MODEL, base_url=f"{url}/v1/rerank", top_k=top_k)
    answer = ranker.run(QUERY, documents(DOCUMENTS))
    ours = [(each.meta["index"], each.score) for each in answer["documents"]]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:top_k])
    assert answer["meta"]["model"] == MODEL
    assert answer["meta"]["usage"]["total_tokens"] > 0


def test_jina_errors(url: str, guarded_url: str) -> None:
    with pytest.raises(RuntimeError, match="no model of that name"):
        jina_rankers.JinaRanker(api_key=secret(), model="no-such-model", base_url=f"{url}/v1/rerank").run(
            QUERY, documents(DOCUMENTS)
        )
    with pytest.raises(RuntimeError, match="no model of that name"):
        jina_embedders.JinaTextEmbedder(api_key=secret(), model="no-such-model", base_url=f"{url}/v1/embeddings").run(
            "a"
        )
    with pytest.raises(RuntimeError, match="API key"):
        jina_rankers.JinaRanker(api_key=secret("wrong"), model=MODEL, base_url=f"{guarded_url}/v1/rerank").run(
            QUERY, documents(DOCUMENTS)
        )


def test_azure_embedder(guarded_url: str, reference: Reference) -> None:
    embedder = embedders.AzureOpenAITextEmbedder(
        azure_endpoint=guarded_url, azure_deployment=MODEL, api_version="2024-10-21", api_key=secret(API_KEY)
    )
    assert_same_vectors([embedder.run("a")["embedding"]], reference.vectors(["a"]))


def test_ollama_embedders(url: str, reference: Reference) -> None:
    answer = ollama_embedders.OllamaTextEmbedder(model=MODEL, url=url).run(JAPANESE)
    assert_same_vectors([answer["embedding"]], reference.vectors([JAPANESE]))
    answer = ollama_embedders.OllamaDocumentEmbedder(model=MODEL, url=url, progress_bar=False).run(documents(TEXTS))
    assert_same_vectors([each.embedding for each in answer["documents"]], reference.vectors(TEXTS))


def test_nvidia(url: str, reference: Reference) -> None:
    embedder = nvidia_embedders.NvidiaTextEmbedder(model=MODEL, api_url=f"{url}/v1", api_key=secret())
    embedder.warm_up()
    assert_same_vectors([embedder.run(JAPANESE)["embedding"]], reference.vectors([JAPANESE]))
    ranker = nvidia_rankers.NvidiaRanker(model=MODEL, api_url=f"{url}/v1", api_key=secret(), top_k=2)
    ranker.warm_up()
    answer = ranker.run(QUERY, documents(DOCUMENTS))
    ours = [(each.meta["index"], (1 + each.score) / 2) for each in answer["documents"]]
    assert_same_ranking(ours, reference.ranking(QUERY, DOCUMENTS)[:2])


def test_tei_embedders_return_raw_vectors_unless_told_otherwise(url: str, reference: Reference) -> None:
    options = {"api_type": "text_embeddings_inference", "api_params": {"url": url}, "token": None}
    raw = np.asarray(tei_embedders.HuggingFaceAPITextEmbedder(**options).run(JAPANESE)["embedding"])
    assert abs(np.linalg.norm(raw) - 1) > 0.01  # they send normalize: false
    assert_same_vectors([raw / np.linalg.norm(raw)], reference.vectors([JAPANESE]))
    answer = tei_embedders.HuggingFaceAPITextEmbedder(**options, normalize=True).run(JAPANESE)
    assert_same_vectors([answer["embedding"]], reference.vectors([JAPANESE]))
