"""Reference numbers for a checkpoint's original folder.

From sentence-transformers if it can read the folder, from tests/references for models that need old remote code, and
from transformers with the authors' prompt for prompted rerankers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import transformers
from numpy.testing import assert_allclose
from sentence_transformers import CrossEncoder, SentenceTransformer

from models.catalog import ModelSpec
from tests.integration.architectures.workshop import QUERY, Floats, Model, served
from tests.integration.reference import PROCESSOR_FIXES
from tests.references import gte_new, jina_bert, jina_v2_flash, last_token, nomic_bert, nv_embed, reading
from tests.tiny import corpus
from tests.tolerance import scaled

CLEARLY = 0.01
"""Minimum effect of a missing fix: more than a hundred times the tolerance."""
TEXTS = [*corpus.ENGLISH[:4], *corpus.JAPANESE[1:5], "ＡＢＣ ｆｕｌｌ－ｗｉｄｔｈ １２３"]
UNLIMITED = 1_000_000
BATCH_ITEMS = 4
"""Small batches of similar lengths, for less padding."""
TURN = "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Prompt:
    """The prompt of a reranker's authors: texts that they tokenise apart; they truncate the one with {document}."""

    parts: tuple[str, ...]
    answers: tuple[str, ...]
    """The answer tokens for and, if there are two, against relevance."""


PROMPTS = {
    "Qwen/Qwen3-Reranker-0.6B": Prompt(  # model card: format_instruction, process_inputs and compute_logits
        (
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
            "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n"
            "<Document>: {document}",
            f"{TURN}<think>\n\n</think>\n\n",
        ),
        ("yes", "no"),
    ),
    "mixedbread-ai/mxbai-rerank-base-v2": Prompt(  # mxbai_rerank_v2.py: prepare_inputs and forward
        (
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n",
            *("query: {query}", "\n", "document: {document}", "\n"),
            "You are a search relevance expert who evaluates how well documents match search queries. For each "
            "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
            "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:",
            TURN,
        ),
        ("1", "0"),
    ),
    "BAAI/bge-reranker-v2-gemma": Prompt(  # FlagEmbedding, reranker/decoder_only/base.py: DatasetForReranker
        (
            *("<bos>", "A: {query}", "\n", "B: {document}", "\n"),
            "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
            "providing a prediction of either 'Yes' or 'No'.",
        ),
        ("Yes",),
    ),
}


class Reference(Protocol):
    """An independent implementation."""

    def tokens(self, text: str) -> int:
        """Number of tokens of the text, or of query and text, with special tokens and without truncation."""
        ...

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        """Unit vectors (N, D); for rerankers logits (N,) of the texts as documents for the query."""
        ...


class Embedder:
    """sentence-transformers' SentenceTransformer in float32, with the tokenizer fixes that transformers 5 needs."""

    def __init__(self, repo: str, folder: Path) -> None:
        fixes = PROCESSOR_FIXES.get(repo)
        self._model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, processor_kwargs=fixes
        )

    def tokens(self, text: str) -> int:
        self._model.max_seq_length = UNLIMITED
        return int(self._model.preprocess([text])["attention_mask"].sum())

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        self._model.max_seq_length = max_tokens
        prompted = [prompt + text for text in texts]
        return np.asarray(
            self._model.encode(prompted, normalize_embeddings=True, batch_size=BATCH_ITEMS, show_progress_bar=False)
        )


class Reranker:
    """sentence-transformers' CrossEncoder in float32; with `fixed` false, without tokenizer fixes."""

    def __init__(self, repo: str, folder: Path, *, fixed: bool = True) -> None:
        self._model = CrossEncoder(
            str(folder),
            device="cpu",
            model_kwargs={"dtype": torch.float32},
            processor_kwargs=PROCESSOR_FIXES.get(repo) if fixed else None,
        )

    def tokens(self, text: str) -> int:
        self._model.max_seq_length = UNLIMITED
        return int(self._model.preprocess([(QUERY, text)])["attention_mask"].sum())

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        self._model.max_seq_length = max_tokens
        pairs = [(query, text) for text in texts]
        return np.asarray(
            self._model.predict(
                pairs, activation_fn=torch.nn.Identity(), batch_size=BATCH_ITEMS, show_progress_bar=False
            )
        )


class AdaptedEmbedder:
    """transformers with the adapter of one task, unmerged, and mean pooling; as in the model's documentation."""

    def __init__(self, adapter: str, folder: Path) -> None:
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._model.load_adapter(str(folder / adapter), adapter_name="task")
        self._model.set_adapter("task")

    def tokens(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    @torch.no_grad()
    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        rows = []
        for text in texts:
            inputs = self._tokenizer(prompt + text, truncation=True, max_length=max_tokens, return_tensors="pt")
            pooled = self._model(**inputs).last_hidden_state[0].double().mean(dim=0)
            rows.append(torch.nn.functional.normalize(pooled, dim=0).numpy())
        return np.stack(rows)


class PublishedEmbedder:
    """A float64 definition of tests/references, which adds the prompt itself."""

    def __init__(self, repo: str, folder: Path) -> None:
        self._definition = PUBLISHED_EMBEDDERS[repo]
        self._folder = folder

    def tokens(self, text: str) -> int:
        plain = reading.plain_ids(reading.read_tokenizer(self._folder), text)
        return len(plain) + 2  # <s> and </s>

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        return self._definition(self._folder, list(texts), instruction=prompt, max_tokens=max_tokens)


class PublishedReranker:
    """A float64 definition of tests/references for RoBERTa's pair template."""

    def __init__(self, repo: str, folder: Path) -> None:
        self._definition = PUBLISHED_RERANKERS[repo]
        self._folder = folder

    def tokens(self, text: str) -> int:
        tokenizer = reading.read_tokenizer(self._folder)
        return len(reading.roberta_pair_ids(tokenizer, (QUERY, text), UNLIMITED))

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        return self._definition(self._folder, [(query, text) for text in texts], max_tokens)


class Answers:
    """A prompted reranker in transformers, in float32."""

    def __init__(self, prompt: Prompt, folder: Path) -> None:
        self._prompt = prompt
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._answers = [self._tokenizer.convert_tokens_to_ids(word) for word in prompt.answers]

    def tokens(self, text: str) -> int:
        return len(self._ids(QUERY, text, UNLIMITED))

    def numbers(self, texts: Sequence[str], max_tokens: int, *, prompt: str = "", query: str = QUERY) -> Floats:
        answers = self._last_logits(texts, max_tokens, query)
        return np.asarray(answers[:, 0] if answers.shape[1] == 1 else answers[:, 0] - answers[:, 1])

    def chances(self, texts: Sequence[str], max_tokens: int) -> Floats:
        """The chance of the first answer among both at the last token: (N,)."""
        answers = self._last_logits(texts, max_tokens, QUERY)
        return np.asarray(torch.nn.functional.log_softmax(answers, dim=1)[:, 0].exp())

    @torch.no_grad()
    def _last_logits(self, texts: Sequence[str], max_tokens: int, query: str) -> torch.Tensor:
        rows = [self._ids(query, text, max_tokens) for text in texts]
        inputs = self._tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt")
        logits: torch.Tensor = self._model(**inputs).logits
        return logits[:, -1, self._answers].double()

    def _ids(self, query: str, text: str, max_tokens: int) -> list[int]:
        ids: list[list[int]] = []
        for part in self._prompt.parts:
            filled = part.replace("{query}", query).replace("{document}", text)
            ids.append(self._tokenizer.encode(filled, add_special_tokens=False))
        (place,) = (index for index, part in enumerate(self._prompt.parts) if "{document}" in part)
        over = sum(map(len, ids)) - max_tokens
        ids[place] = ids[place][: len(ids[place]) - max(0, over)]
        return [token for part in ids for token in part]


PUBLISHED_EMBEDDERS = {
    "Alibaba-NLP/gte-multilingual-base": gte_new.embeddings,
    "nomic-ai/nomic-embed-text-v1.5": nomic_bert.embeddings,
    "nvidia/NV-Embed-v2": nv_embed.embeddings,
    "intfloat/e5-mistral-7b-instruct": last_token.embeddings,
}
PUBLISHED_RERANKERS = {
    "jinaai/jina-reranker-v2-base-multilingual": jina_v2_flash.logits,
    "Alibaba-NLP/gte-multilingual-reranker-base": gte_new.logits,
    "jinaai/jina-reranker-v1-turbo-en": jina_bert.logits,
}


def reference_for(spec: ModelSpec, folder: Path) -> Reference:
    """The reference that can read this folder; its warnings are ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if spec.scoring:
            return Answers(PROMPTS[spec.repo], folder)
        if spec.adapter:
            return AdaptedEmbedder(spec.adapter, folder)
        if spec.repo in PUBLISHED_EMBEDDERS:
            return PublishedEmbedder(spec.repo, folder)
        if spec.repo in PUBLISHED_RERANKERS:
            return PublishedReranker(spec.repo, folder)
        return Embedder(spec.repo, folder) if spec.kind == "embedding" else Reranker(spec.repo, folder)


def text_of(reference: Reference, tokens: int) -> str:
    """A text of exactly this many tokens. Its words differ, so that truncation at a wrong place changes the result."""
    pool = ["a", "the", "is", "of", "and", "in", "to", "planet", "red", "for", "with", "what", "that", "are", "its"]
    alone = reference.tokens("a")
    single = [word for word in pool if reference.tokens(f"a {word}") == alone + 1]
    assert len(single) > 2
    count = tokens - alone + 1
    text = " ".join(["a", *(single[(index * index) % len(single)] for index in range(1, count))])
    assert reference.tokens(text) == tokens
    return text


def apart(first: Floats, second: Floats) -> float:
    """The largest difference."""
    return float(np.abs(first - second).max())


async def assert_right(model: Model, texts: Sequence[str] = TEXTS) -> Floats:
    """The served numbers for these short texts; fails unless they equal the reference."""
    got = await served(model, texts)
    expected = reference_for(model.spec, model.original).numbers(texts, min(512, model.stored.facts.max_tokens))
    assert_allclose(got, expected, rtol=0, atol=scaled(expected))
    return got
