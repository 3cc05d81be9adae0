"""Prompts are applied: vectors and scores equal those of reference implementations with the same prompt."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from api.dialects.openai import EmbeddingRequest, RerankRequest, embed, rerank
from api.work import Work
from errors import InvalidRequestError, ServiceError
from models.catalog import load_catalog
from models.store import ModelStore
from runners.devices import Device
from runners.loading import load_model
from runners.pool.model_pool import ModelPool
from settings import load_settings
from tests.integration.conftest import Checkpoint
from tests.references import last_token, nv_embed
from tests.tiny import corpus, qwen3
from tests.tolerance import FLOAT32 as ATOL
from tests.variant import THREADS

E5 = "intfloat/multilingual-e5-base"
RURI = "cl-nagoya/ruri-base"
E5_MISTRAL = "intfloat/e5-mistral-7b-instruct"
NV_EMBED = "nvidia/NV-Embed-v2"
QWEN3 = "Qwen/Qwen3-Reranker-0.6B"
QUERY = "Which planet is known as the Red Planet?"
TEXTS = [*corpus.ENGLISH[:4], *corpus.JAPANESE[:3], "a"]
OTHER_TASK = "Find the cat"

Judge = Callable[[list[str], str], NDArray[np.float64]]
"""(documents, instruction) -> scores."""


@pytest.fixture
async def work(checkpoint: Checkpoint) -> AsyncIterator[Work]:
    """`Work` over a pool with enough memory for the 7B models."""
    settings = load_settings({"DTYPE": "float32"})
    pool = ModelPool(
        load_catalog(),
        ModelStore(),
        load=partial(load_model, device=Device("cpu", "cpu", "float32", THREADS), settings=settings),
        import_model=None,
        unavailable_reason=lambda _spec: None,
        needs_export=lambda _stored: False,
    )
    yield Work(pool, settings)
    await pool.close()


async def vectors(work: Work, texts: list[str], **fields: Any) -> NDArray[np.float64]:
    response = await embed(work, EmbeddingRequest.model_validate({"input": texts} | fields))
    return np.array([entry["embedding"] for entry in orjson.loads(response.body)["data"]])


async def scores(work: Work, query: str, documents: list[str], **fields: Any) -> NDArray[np.float64]:
    """The scores in the order of the documents."""
    body = {"query": query, "documents": documents} | fields
    response = await rerank(work, RerankRequest.model_validate(body), client=None)
    results = sorted(orjson.loads(response.body)["results"], key=lambda result: result["index"])
    return np.array([result["relevance_score"] for result in results])


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> SentenceTransformer:
    """sentence-transformers on the original folder of the tiny e5."""
    return SentenceTransformer(str(checkpoint(E5)), device="cpu", model_kwargs={"dtype": torch.float32})


def encode(reference: SentenceTransformer, texts: list[str], prompt: str | None = None) -> NDArray[np.float32]:
    return np.asarray(reference.encode(texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False))


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"model": E5}, None),
        ({"model": E5, "input_type": "query"}, "query: "),
        ({"model": E5, "input_type": "passage"}, "passage: "),
        ({"model": E5, "prompt_name": "document"}, "passage: "),
        ({"model": f"{E5}:query"}, "query: "),
        ({"model": "multilingual-e5-base:DOCUMENT"}, "passage: "),
        ({"model": f"{E5}:document", "input_type": "search_query"}, "query: "),
        ({"model": E5, "input_type": "clustering"}, None),
    ],
)
async def test_vectors_equal_the_reference_with_the_same_prompt(
    work: Work, reference: SentenceTransformer, fields: dict[str, Any], prompt: str | None
) -> None:
    expected = encode(reference, TEXTS, prompt)
    assert_allclose(await vectors(work, TEXTS, **fields), expected, atol=ATOL)
    by_hand = [f"{prompt or ''}{text}" for text in TEXTS]
    assert_allclose(await vectors(work, by_hand, model=E5), expected, atol=ATOL)


async def test_query_and_document_vectors_differ(work: Work, checkpoint: Checkpoint) -> None:
    """Otherwise the tests of this file would prove nothing."""
    checkpoint(E5)
    plain, query, document = [
        await vectors(work, TEXTS, model=E5, input_type=side) for side in (None, "query", "document")
    ]
    for one, other in ((plain, query), (plain, document), (query, document)):
        assert np.abs(one - other).max(axis=1).min() > 100 * ATOL


async def test_the_model_name_is_repeated_and_usage_includes_the_prompt(work: Work, checkpoint: Checkpoint) -> None:
    checkpoint(E5)
    usage = {}
    for name in (E5, f"{E5}:query"):
        response = await embed(work, EmbeddingRequest.model_validate({"model": name, "input": ["red"]}))
        answer = orjson.loads(response.body)
        assert answer["model"] == name
        usage[name] = answer["usage"]["prompt_tokens"]
    assert usage[f"{E5}:query"] > usage[E5]


async def test_ranking_by_cosine_uses_the_prompt_of_each_side(work: Work, reference: SentenceTransformer) -> None:
    query, found = encode(reference, [QUERY], "query: "), encode(reference, TEXTS, "passage: ")
    expected = (1 + found.astype(np.float64) @ query[0].astype(np.float64)) / 2
    assert_allclose(await scores(work, QUERY, TEXTS, model=E5), expected, atol=ATOL)


async def test_ruri_uses_its_japanese_prompts(work: Work, checkpoint: Checkpoint) -> None:
    checkpoint(RURI)
    by_suffix = await vectors(work, TEXTS, model="ruri-base:query")
    assert_allclose(by_suffix, await vectors(work, [f"クエリ: {text}" for text in TEXTS], model=RURI), atol=ATOL)


@pytest.mark.parametrize("instruction", [None, OTHER_TASK])
@pytest.mark.parametrize(("name", "module"), [(E5_MISTRAL, last_token), (NV_EMBED, nv_embed)])
async def test_an_instruction_equals_the_references_template(
    work: Work, checkpoint: Checkpoint, name: str, module: Any, instruction: str | None
) -> None:
    folder = checkpoint(name)
    task = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    expected = module.embeddings(folder, TEXTS, instruction=f"Instruct: {task}\nQuery: ", max_tokens=512)
    found = await vectors(work, TEXTS, model=name, input_type="query", instruction=instruction)
    assert_allclose(found, expected, atol=ATOL)
    plain = await vectors(work, TEXTS, model=name, input_type="document")
    assert_allclose(plain, module.embeddings(folder, TEXTS, max_tokens=512), atol=ATOL)


async def test_ranking_by_cosine_uses_the_instruction(work: Work, checkpoint: Checkpoint) -> None:
    folder = checkpoint(E5_MISTRAL)
    template = f"Instruct: {OTHER_TASK}\nQuery: "
    (query,) = last_token.embeddings(folder, [QUERY], instruction=template, max_tokens=512)
    found = last_token.embeddings(folder, TEXTS, max_tokens=512)
    expected = (1 + found @ query) / 2
    assert_allclose(await scores(work, QUERY, TEXTS, model=E5_MISTRAL, instruction=OTHER_TASK), expected, atol=ATOL)


@pytest.fixture(scope="module")
def judge(checkpoint: Checkpoint) -> Judge:
    """P(yes) by transformers, with the model card's prompt and another instruction."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = checkpoint(QWEN3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    default = load_catalog().get(QWEN3).instruction
    assert default is not None

    def chance(document: str, instruction: str) -> float:
        text = qwen3.JUDGE.format(query=QUERY, document=document).replace(default, instruction)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits = model(**ids).logits[0, -1]
        return float(torch.softmax(logits[[no, yes]].double(), dim=0)[1])

    return lambda documents, instruction: np.array([chance(document, instruction) for document in documents])


async def test_qwen3_reranker_uses_the_instruction(work: Work, judge: Judge) -> None:
    default = load_catalog().get(QWEN3).instruction or ""
    usual = await scores(work, QUERY, TEXTS, model=QWEN3)
    assert_allclose(usual, judge(TEXTS, default), atol=ATOL)
    assert_allclose(await scores(work, QUERY, TEXTS, model=QWEN3, instruction=default), usual, atol=ATOL)
    assert_allclose(await scores(work, QUERY, TEXTS, model=QWEN3, instruction=""), usual, atol=ATOL)
    other = await scores(work, QUERY, TEXTS, model=QWEN3, instruction="Find {query} and {document}")
    assert_allclose(other, judge(TEXTS, "Find {query} and {document}"), atol=ATOL)
    assert np.abs(other - usual).max() > 100 * ATOL


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": E5, "input_type": "sideways"}, "input_type"),
        ({"model": E5, "prompt_name": "sts"}, "prompt_name"),
        ({"model": f"{E5}:query", "instruction": OTHER_TASK}, "instruction"),
        ({"model": f"{E5}:passage"}, "model"),
        ({"model": f"{E5}:query:query"}, "model"),
    ],
)
async def test_invalid_prompts_are_rejected_before_the_model_is_loaded(
    work: Work, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(ServiceError) as raised:
        await vectors(work, TEXTS, **fields)
    assert raised.value.param == param
    assert not await work.pool.in_memory()


@pytest.mark.parametrize("model", ["BAAI/bge-reranker-v2-m3", E5])
async def test_an_instruction_for_a_model_without_one_is_rejected(
    work: Work, checkpoint: Checkpoint, model: str
) -> None:
    checkpoint(model)
    with pytest.raises(InvalidRequestError) as raised:
        await scores(work, QUERY, TEXTS, model=model, instruction=OTHER_TASK)
    assert raised.value.param == "instruction"
    assert not await work.pool.in_memory()
