"""LightRAG: `openai_embed` and `jina_rerank`; a function in place of the language model finds no entities."""

import asyncio
from functools import partial
from typing import Any

from lightrag import LightRAG, QueryParam
from lightrag.llm.openai import openai_embed
from lightrag.rerank import jina_rerank
from lightrag.utils import EmbeddingFunc

from tests.applications.programs.given import given, report

GIVEN = given()


async def no_entities(*_: Any, **__: Any) -> str:
    """The answer of a language model that found nothing."""
    return "<|COMPLETE|>"


async def main() -> None:
    """Insert the documents, and query them in the mode that needs no graph."""
    embed = partial(openai_embed.func, model=GIVEN.model, base_url=f"{GIVEN.url}/v1", api_key=GIVEN.key)
    rag = LightRAG(
        working_dir="lightrag",
        llm_model_func=no_entities,
        embedding_func=EmbeddingFunc(embedding_dim=GIVEN.dimensions, max_token_size=256, func=embed),
        rerank_model_func=partial(jina_rerank, model=GIVEN.model, base_url=f"{GIVEN.url}/v1/rerank", api_key=GIVEN.key),
        tiktoken_model_name="gpt-4",
    )
    await rag.initialize_storages()
    await rag.ainsert(GIVEN.documents, file_paths=[f"{number}.txt" for number in range(len(GIVEN.documents))])
    answer = await rag.aquery_data(GIVEN.query, QueryParam(mode="naive", enable_rerank=True))
    found = [chunk["content"] for chunk in answer["data"]["chunks"]]
    report(found, vectors=await embed(GIVEN.documents))
    await rag.finalize_storages()


asyncio.run(main())
