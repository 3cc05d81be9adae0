"""Calls of each client, to record their requests."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.clients.samples import DOCUMENTS, MODEL, QUERY, TEXTS

KEY = "dummy"
EMBED = {"texts": TEXTS}
RANK = {"query": QUERY, "documents": DOCUMENTS}


@dataclass(frozen=True)
class Call:
    """`means` describes the call: texts, or a query and documents, and options."""

    name: str
    means: dict[str, Any]
    run: Callable[[str], object]


def calls() -> Iterator[Call]:
    """The calls of this environment: of the official clients, of Milvus' functions, or of other libraries."""
    if importlib.util.find_spec("pymilvus") and importlib.util.find_spec("pymilvus.model"):
        yield from milvus_calls()
    elif importlib.util.find_spec("langchain_openai") is None:
        yield from official_calls()
    else:
        yield from langchain_calls()
        yield from llama_index_calls()
        yield from haystack_calls()
        yield from litellm_calls()


def official_calls() -> Iterator[Call]:
    """openai, cohere, voyageai, huggingface_hub, ollama, mistralai and mixedbread."""
    import cohere
    import mixedbread
    import ollama
    import openai
    import voyageai
    from huggingface_hub import InferenceClient
    from mistralai.client import Mistral

    def embeddings(url: str, **options: Any) -> object:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY).embeddings.create(model=MODEL, **options)

    yield Call("openai_base64", EMBED, lambda url: embeddings(url, input=TEXTS))
    yield Call("openai_one_text", {"texts": TEXTS[:1]}, lambda url: embeddings(url, input=TEXTS[0]))
    yield Call(
        "openai_float_dimensions",
        EMBED | {"dimensions": 64},
        lambda url: embeddings(url, input=TEXTS, dimensions=64, encoding_format="float"),
    )

    def azure(url: str) -> openai.AzureOpenAI:
        return openai.AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", api_key=KEY)

    yield Call("azure_openai", EMBED, lambda url: azure(url).embeddings.create(model=MODEL, input=TEXTS))
    yield Call(
        "mistralai_embeddings",
        EMBED,
        lambda url: Mistral(api_key=KEY, server_url=url).embeddings.create(model=MODEL, inputs=TEXTS),
    )
    yield Call("ollama_embed", EMBED, lambda url: ollama.Client(url).embed(model=f"{MODEL}:latest", input=TEXTS))
    yield Call(
        "mixedbread_rerank",
        RANK | {"top_n": 2},
        lambda url: mixedbread.Mixedbread(api_key=KEY, base_url=url).rerank(
            model=MODEL, query=QUERY, input=DOCUMENTS, top_k=2
        ),
    )

    side = {"input_type": "search_document"}
    types = {"embedding_types": ["float", "int8", "ubinary"]}

    def v1(url: str) -> cohere.Client:
        return cohere.Client(KEY, base_url=url)

    def v2(url: str) -> cohere.ClientV2:
        return cohere.ClientV2(KEY, base_url=url)

    yield Call("cohere_v1_embed", EMBED, lambda url: v1(url).embed(model=MODEL, texts=TEXTS, **side))
    yield Call("cohere_v1_embed_types", EMBED, lambda url: v1(url).embed(model=MODEL, texts=TEXTS, **side, **types))
    yield Call("cohere_v2_embed_types", EMBED, lambda url: v2(url).embed(model=MODEL, texts=TEXTS, **side, **types))
    yield Call(
        "cohere_v1_rerank",
        RANK | {"top_n": 2, "document_objects": True},
        lambda url: v1(url).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True),
    )
    yield Call("cohere_v2_rerank", RANK, lambda url: v2(url).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS))

    def voyage(url: str) -> voyageai.Client:
        return voyageai.Client(KEY, base_url=f"{url}/v1")

    yield Call("voyageai_embed", EMBED, lambda url: voyage(url).embed(TEXTS, model=MODEL, input_type="query"))
    yield Call(
        "voyageai_embed_int8",
        EMBED | {"dimensions": 64, "type": "int8"},
        lambda url: voyage(url).embed(TEXTS, model=MODEL, output_dtype="int8", output_dimension=64),
    )
    yield Call("voyageai_rerank", RANK, lambda url: voyage(url).rerank(QUERY, DOCUMENTS, model=MODEL))

    def hub(url: str) -> InferenceClient:
        return InferenceClient(model=url, token=KEY)

    yield Call("huggingface_hub_feature_extraction", EMBED, lambda url: hub(url).feature_extraction(TEXTS))
    yield Call(
        "huggingface_hub_sentence_similarity",
        RANK | {"cosines": True},
        lambda url: hub(url).sentence_similarity(QUERY, other_sentences=DOCUMENTS),
    )


def milvus_calls() -> Iterator[Call]:
    """pymilvus.model, the embedding and rerank functions of Milvus' client."""
    from pymilvus.model.dense import TEIEmbeddingFunction
    from pymilvus.model.reranker import TEIRerankFunction

    yield Call("pymilvus_tei_embed", EMBED, lambda url: TEIEmbeddingFunction(url).encode_documents(TEXTS))
    yield Call("pymilvus_tei_rerank", RANK, lambda url: TEIRerankFunction(url)(QUERY, DOCUMENTS))


def langchain_calls() -> Iterator[Call]:
    """langchain-openai, langchain-cohere and langchain-nvidia-ai-endpoints."""
    from langchain_cohere import CohereEmbeddings, CohereRerank
    from langchain_core.documents import Document
    from langchain_nvidia_ai_endpoints import NVIDIARerank
    from langchain_openai import OpenAIEmbeddings

    def tokens(url: str) -> object:
        return OpenAIEmbeddings(model=MODEL, base_url=f"{url}/v1", api_key=KEY).embed_documents(TEXTS)

    passages = [Document(text) for text in DOCUMENTS]
    yield Call(
        "langchain_nvidia_rerank",
        RANK,
        lambda url: NVIDIARerank(model=MODEL, base_url=f"{url}/v1", api_key=KEY).compress_documents(passages, QUERY),
    )

    cohere = {"model": MODEL, "cohere_api_key": KEY}
    yield Call("langchain_openai_token_arrays", EMBED, tokens)
    yield Call(
        "langchain_cohere_embed", EMBED, lambda url: CohereEmbeddings(base_url=url, **cohere).embed_documents(TEXTS)
    )
    yield Call(
        "langchain_cohere_rerank",
        RANK | {"top_n": 3},
        lambda url: CohereRerank(base_url=url, **cohere).rerank(DOCUMENTS, QUERY),
    )


def llama_index_calls() -> Iterator[Call]:
    """llama-index's embeddings and rerankers."""
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.embeddings.openai import OpenAIEmbedding
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
    from llama_index.postprocessor.cohere_rerank import CohereRerank
    from llama_index.postprocessor.jinaai_rerank import JinaRerank
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    def rank(reranker: Any) -> object:
        nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in DOCUMENTS]
        return reranker.postprocess_nodes(nodes, query_str=QUERY)

    key = {"api_key": KEY}
    named = {"model": MODEL} | key
    yield Call(
        "llama_index_openai",
        EMBED,
        lambda url: OpenAIEmbedding(model_name=MODEL, api_base=f"{url}/v1", **key).get_text_embedding_batch(TEXTS),
    )
    yield Call(
        "llama_index_tei_embed",
        EMBED,
        lambda url: TextEmbeddingsInference(model_name=MODEL, base_url=url).get_text_embedding_batch(TEXTS),
    )
    yield Call("llama_index_cohere_rerank", RANK | {"top_n": 2}, lambda url: rank(CohereRerank(base_url=url, **named)))
    yield Call(
        "llama_index_jina_rerank",
        RANK | {"top_n": 2},
        lambda url: rank(JinaRerank(base_url=f"{url}/v1", **named)),
    )
    yield Call("llama_index_tei_rerank", RANK, lambda url: rank(TextEmbeddingInference(base_url=url)))


def haystack_calls() -> Iterator[Call]:
    """haystack's own embedder and those of jina-haystack."""
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder
    from haystack.utils import Secret
    from haystack_integrations.components.embedders.jina import JinaDocumentEmbedder
    from haystack_integrations.components.rankers.jina import JinaRanker

    options = {"api_key": Secret.from_token(KEY), "model": MODEL}
    texts, documents = [[Document(content=text) for text in texts] for texts in (TEXTS, DOCUMENTS)]
    yield Call(
        "haystack_openai",
        EMBED,
        lambda url: OpenAIDocumentEmbedder(api_base_url=f"{url}/v1", progress_bar=False, **options).run(texts),
    )
    yield Call(
        "haystack_jina_embed",
        EMBED,
        lambda url: JinaDocumentEmbedder(base_url=f"{url}/v1/embeddings", progress_bar=False, **options).run(texts),
    )
    yield Call(
        "haystack_jina_rank",
        RANK,
        lambda url: JinaRanker(base_url=f"{url}/v1/rerank", **options).run(QUERY, documents),
    )


def litellm_calls() -> Iterator[Call]:
    """litellm with two providers."""
    import litellm

    yield Call(
        "litellm_embedding",
        EMBED,
        lambda url: litellm.embedding(model=f"openai/{MODEL}", api_base=f"{url}/v1", api_key=KEY, input=TEXTS),
    )
    yield Call(
        "litellm_jina_rerank",
        RANK | {"top_n": 2},
        lambda url: litellm.rerank(
            model=f"jina_ai/{MODEL}",
            api_base=f"{url}/v1/rerank",
            api_key=KEY,
            query=QUERY,
            documents=DOCUMENTS,
            top_n=2,
        ),
    )
