"""Every architecture of the catalogue: after import and loading, results equal an independent reference within float32.

Models of the same layout are computed alike, so one of them is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from errors import InputTooLongError
from models.prompts import choose_prompt
from runners.contracts import QUERY as QUERY_PLACE
from runners.contracts import EmbeddingResult, RerankOptions, RerankResult, TruncatedInput
from runners.embedding import EmbeddingRunner
from runners.loaded_model import LoadedModel
from runners.networks.pooling import normalize
from runners.rerank import RerankRunner
from tests import tiny
from tests.integration.architectures.reference import PROMPTS, Answers, Reference, reference_for, text_of
from tests.integration.architectures.workshop import CATALOG, QUERY, Floats, Model, Workshop, answer, numbers
from tests.tiny import corpus, jina_v3
from tests.tolerance import FLOAT32, scaled

LONG = 8192
TRUE_LIMITS = {
    "luke-japanese-base": 80,
    **dict.fromkeys((f"paraphrase-multilingual-{name}-v2" for name in ("minilm-l12", "mpnet-base")), 128),
    **dict.fromkeys(("all-minilm-l12-v2", "paraphrase-minilm-l6-v2", "text2vec-base-chinese"), 128),
    **dict.fromkeys(("all-minilm-l6-v2", "labse"), 256),
    "all-mpnet-base-v2": 384,
    "jina-reranker-v2-multilingual": 1024,
    "embeddinggemma-300m": 2048,
    "e5-mistral-7b": 4096,
    **dict.fromkeys((f"ettin-reranker-{size}-v1" for size in ("17m", "32m", "68m", "150m", "400m", "1b")), 7999),
    **dict.fromkeys(("bge-m3", "japanese-bge-v2-m3", "bge-reranker-v2-m3", "snowflake-arctic-embed-l-v2.0"), LONG),
    **dict.fromkeys(("gte-multilingual-reranker", "jina-reranker-turbo", "ruri-v3-reranker-310m"), LONG),
    **dict.fromkeys((f"ruri-v3-{size}" for size in ("30m", "70m", "130m", "310m")), LONG),
    **dict.fromkeys((f"japanese-reranker-{size}-v2" for size in ("tiny", "xsmall", "small", "base")), LONG),
    **dict.fromkeys(("gte-modernbert-base", "gte-reranker-modernbert-base", "gte-multilingual-base"), LONG),
    **dict.fromkeys((f"granite-embedding-{size}-multilingual-r2" for size in ("97m", "311m")), LONG),
    **dict.fromkeys((f"granite-embedding-{name}english-r2" for name in ("", "small-", "reranker-")), LONG),
    **dict.fromkeys((f"bekko-embedding-v1-{size}" for size in ("a8m", "a25m")), LONG),
    **dict.fromkeys(("nomic-embed-text-v1.5", "nomic-embed-text-v1", "bge-reranker-v2-gemma"), LONG),
    **dict.fromkeys(("sarashina-embedding-v2-1b", "comsat-embed-ja-0.3b"), LONG),
    **dict.fromkeys((f"jina-embeddings-v3-{task.replace('_', '-')}" for task in jina_v3.TASKS), LONG),
    **dict.fromkeys((f"qwen3-embedding-{size}" for size in ("0.6b", "4b", "8b")), 32768),
    **dict.fromkeys((f"qwen3-reranker-{size}" for size in ("0.6b", "4b", "8b")), 32768),
    **dict.fromkeys((f"mxbai-rerank-{size}-v2" for size in ("base", "large")), 32768),
    **dict.fromkeys((f"harrier-oss-v1-{size}" for size in ("270m", "0.6b")), 32768),
    **dict.fromkeys(("nv-embed-v2", "jina-embeddings-v5-text-small-retrieval"), 32768),
    **dict.fromkeys((f"nemotron-3-embed-{size}" for size in ("1b", "8b")), 32768),
    **dict.fromkeys((f"f2llm-v2-{size}" for size in ("80m", "160m", "330m", "0.6b", "1.7b", "4b", "8b", "14b")), 40960),
}
"""Token limits from the model cards; all other models have 512."""
AFFORDABLE_TOKENS = 1024
LOWERED_TOKENS = 300
"""Limit for models whose true limit takes too long. Exceeds half of embeddinggemma's window and twice ModernBERT's."""
REPRESENTATIVES = {other: repo for repo, others in tiny.SAME_LAYOUT.items() for other in others}
"""Full name of a model -> that of the model which is run for its layout."""
NAMES = [
    spec.name
    for spec in CATALOG
    if not spec.forwarded and spec.repo not in REPRESENTATIVES and "dense" in (spec.outputs or ("dense",))
]
"""Models with other outputs only: test_outputs.py."""
SHORT = [
    "Mars is red.",
    "火星は赤い惑星です。",
    "ＡＢＣ ｆｕｌｌ－ｗｉｄｔｈ １２３ ①㈱ ｶﾀｶﾅ",
    "a",
    "The planet 火星 is ２２５ million km away, 遠い! 😀 naïve façade",
    " ".join(corpus.ENGLISH[:4]) + "".join(corpus.JAPANESE[:3]),
]


@dataclass(frozen=True)
class Case:
    """A loaded model, its reference, texts of many lengths, and the results of both."""

    model: Model
    loaded: LoadedModel
    reference: Reference
    limit: int
    texts: list[str]
    counts: list[int]
    expected: Floats
    result: EmbeddingResult | RerankResult


def assert_equal(got: Floats, expected: Floats) -> None:
    """Equal within float32's accuracy."""
    assert np.isfinite(expected).all()
    assert_allclose(got, expected, rtol=0, atol=scaled(expected))


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[Case]:
    """Each imported model, with its true limit unless that takes too long."""
    model = workshop.model(request.param)
    limit = model.stored.facts.max_tokens
    limit = limit if limit <= AFFORDABLE_TOKENS else LOWERED_TOKENS
    reference = reference_for(model.spec, model.original)
    lengths = (limit, limit + 1, limit + 10_000)
    texts = [*SHORT, "".join(corpus.JAPANESE) * 8, *(text_of(reference, length) for length in lengths)]
    counts = [reference.tokens(text) for text in texts]
    with model.running(max_tokens=limit) as loaded:
        result = asyncio.run(answer(loaded, texts))
        yield Case(model, loaded, reference, limit, texts, counts, reference.numbers(texts, limit), result)


def test_every_model_with_weights_has_a_tiny_checkpoint() -> None:
    assert {spec.repo for spec in CATALOG if not spec.forwarded} <= tiny.BUILDERS.keys()


@pytest.mark.parametrize("repo", REPRESENTATIVES)
def test_models_of_one_layout_are_imported_and_computed_alike(repo: str) -> None:
    spec, run = CATALOG.get(repo), CATALOG.get(REPRESENTATIVES[repo])
    alike = {"kind", "conversion", "pooling", "scoring", "instruction", "tokenizer", "requires"}
    changed = {"instruction"} if spec.scoring is None else set()  # an embedder's prompt is text before the input
    assert spec.model_dump(include=alike - changed) == run.model_dump(include=alike - changed)
    assert spec.max_tokens == TRUE_LIMITS.get(spec.name, 512)


def test_the_limit_is_that_of_the_model_card(case: Case) -> None:
    assert case.model.stored.facts.max_tokens == TRUE_LIMITS.get(case.model.spec.name, 512)


def test_numbers_equal_the_reference(case: Case) -> None:
    assert_equal(numbers(case.result), case.expected)
    if isinstance(case.result, RerankResult):
        chances = 1 / (1 + np.exp(-case.expected.astype(np.float64)))
        assert_allclose(case.result.scores, chances, rtol=0, atol=FLOAT32)


def test_the_reference_distinguishes_these_texts(case: Case) -> None:
    """Otherwise equal numbers would prove nothing."""
    whole = case.expected[:-2]  # the last two are truncated to the one before
    for index in range(len(whole)):
        others = np.delete(whole, index, axis=0)
        assert np.abs(others - whole[index]).reshape(len(others), -1).max(axis=1).min() > 5 * FLOAT32


def test_truncation_is_reported_with_the_references_counts(case: Case) -> None:
    assert case.counts[-3:] == [case.limit, case.limit + 1, case.limit + 10_000]
    assert case.result.truncated == [
        TruncatedInput(index, count, case.limit) for index, count in enumerate(case.counts) if count > case.limit
    ]
    assert case.result.prompt_tokens == sum(min(count, case.limit) for count in case.counts)


async def test_a_text_beyond_the_limit_is_rejected_without_truncation(case: Case) -> None:
    fitting, one_more, many_more = case.texts[-3:]
    assert not (await answer(case.loaded, [fitting], truncate="refuse")).truncated
    for text, count in ((one_more, case.limit + 1), (many_more, case.limit + 10_000)):
        with pytest.raises(InputTooLongError, match=f" {count} tokens.* takes {case.limit}") as caught:
            await answer(case.loaded, [fitting, text], truncate="refuse")
        assert str(caught.value.param).endswith(".1")


def test_one_padded_pass_gives_the_same_numbers(case: Case) -> None:
    """All lengths in one batch, which the batcher would separate."""
    engine, spec = case.loaded.engine, case.model.spec
    assert engine is not None
    if spec.kind == "embedding":
        sequences, _ = engine.tokenizer.encode_texts(case.texts)
        rows: Floats = normalize(engine.run_now(sequences))
    else:
        sequences, _ = engine.tokenizer.encode_pairs(QUERY, case.texts, spec.instruction or "")
        rows = engine.run_now(sequences)[:, 0]
    assert_equal(rows, case.expected)


async def test_batches_and_order_do_not_change_results(case: Case) -> None:
    together = numbers(case.result)
    assert_equal(numbers(await answer(case.loaded, case.texts[::-1]))[::-1], together)
    for text, expected in zip(case.texts[::2], together[::2], strict=True):
        assert_equal(numbers(await answer(case.loaded, [text]))[0], expected)


async def test_prompts_and_long_queries(case: Case) -> None:
    """An embedder's prompt, or a reranker's query that exceeds the limit."""
    runner = case.loaded.runner
    await (_prompt(case, runner) if isinstance(runner, EmbeddingRunner) else _long_query(case))


async def _prompt(case: Case, runner: EmbeddingRunner) -> None:
    """NV-Embed excludes it from pooling; all other models treat it as text."""
    prompt = choose_prompt(case.model.spec, input_type="query") or "query: "
    kept = [index for index, text in enumerate(case.texts[:-2]) if text != "a"]  # it would have no tokens to pool
    texts = [case.texts[index] for index in kept]
    vectors = (await runner.embed(texts, prompt=prompt)).dense
    assert_equal(vectors, case.reference.numbers(texts, case.limit, prompt=prompt))
    assert np.abs(vectors - numbers(case.result)[kept]).max() > 1e-3


async def _long_query(case: Case) -> None:
    """An even number of tokens is available for both sides: Python tokenizers divide an odd number differently."""
    query = " ".join([QUERY, *corpus.ENGLISH, *corpus.JAPANESE]) * 2
    texts = [*SHORT[::2], case.texts[-1]]
    limit = 301 if case.model.spec.scoring else 201  # prompts alone have up to 200 tokens
    with case.model.running(max_tokens=limit) as loaded:
        result = await answer(loaded, texts, query=query)
    if case.model.spec.scoring:  # the authors' truncation would remove the documents
        assert len({*np.round(numbers(result).ravel(), 3)}) == len(texts)
        assert [cut.index for cut in result.truncated] == [*range(len(texts)), QUERY_PLACE]
        return
    assert_equal(numbers(result), case.reference.numbers(texts, limit, query=query))
    assert [cut.index for cut in result.truncated] == list(range(len(texts)))


async def test_yes_or_no_is_a_chance(workshop: Workshop) -> None:
    model = workshop.model("qwen3-reranker-0.6b")
    with model.running() as loaded:
        result = await answer(loaded, SHORT)
    assert isinstance(result, RerankResult)
    expected = Answers(PROMPTS[model.spec.repo], model.original).chances(SHORT, 8192)
    assert_allclose(result.scores, expected, rtol=0, atol=FLOAT32)


async def test_an_instruction_that_a_prompt_does_without(workshop: Workshop) -> None:
    """mxbai_rerank_v2.py: prepare_inputs."""
    model = workshop.model("mxbai-rerank-base-v2")
    prompt = PROMPTS[model.spec.repo]
    start, query, *rest = prompt.parts
    told = replace(prompt, parts=(start, f"instruction: Find the planet.\n{query}", *rest))
    with model.running() as loaded:
        assert isinstance(loaded.runner, RerankRunner)
        result = await loaded.runner.rerank(QUERY, SHORT, RerankOptions(instruction="Find the planet."))
        assert_equal(result.raw, Answers(told, model.original).numbers(SHORT, 8192))
        assert np.abs(result.raw - (await loaded.runner.rerank(QUERY, SHORT)).raw).max() > 1e-3
