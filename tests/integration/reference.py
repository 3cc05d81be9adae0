"""The reference: sentence-transformers on the original folder, in float32 on the CPU."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from tests.tiny import bert_japanese, corpus, deberta, decoders, luke
from tests.tolerance import FLOAT32, unit_atol
from tests.variant import DTYPE

Floats = NDArray[np.float32]
Side = Literal["left", "right"]

ATOL = FLOAT32 if DTYPE in ("float32", "auto") else unit_atol("bf16")
"""Tolerance. The apps of these tests use torch, for which `auto` is float32 on a CPU."""

_SEGMENTS = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
_XLM_ROBERTA = {"tokenizer_type": "xlm-roberta"}
_AS_STORED = {"tokenizer_type": "modernbert"}  # this class uses tokenizer.json unchanged
PROCESSOR_FIXES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(bert_japanese.BUILDERS, _SEGMENTS),
    **dict.fromkeys(luke.BUILDERS, _XLM_ROBERTA),
    **dict.fromkeys((*deberta.BUILDERS, decoders.SARASHINA), _AS_STORED),
}
"""Options with which transformers 5 reads these tokenizers correctly."""

CODE = "def sort(items):\n    return sorted(items, key=lambda item: (-len(item), item))  # 並べ替え\n"
TEXTS = [
    *corpus.ENGLISH[:6],
    *corpus.JAPANESE[:6],
    "a",
    " ",
    "   \n\t ",
    "😀🎉👨‍👩‍👧 emoji und Ümläute naïve façade",
    CODE,
    "Привет мир. مرحبا بالعالم. שלום עולם. 你好,世界。안녕하세요",
    "\u0000 control \u200b zero width \ufeff characters",
    " ".join(corpus.ENGLISH[6:16]),
]
"""Texts of different lengths and scripts, up to 512 tokens."""
LONG = (" ".join(corpus.ENGLISH) + "".join(corpus.JAPANESE) + " ") * 2
"""A text of more than 512 tokens."""


class ReferenceEmbedder:
    """A SentenceTransformer."""

    def __init__(self, full_name: str, folder: Path, max_tokens: int) -> None:
        fix = PROCESSOR_FIXES.get(full_name)
        self._model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, processor_kwargs=fix
        )
        self._model.max_seq_length = max_tokens

    def encode(self, texts: list[str], *, prompt: str | None = None, cut: Side = "right") -> Floats:
        """Unit vectors (N, D); `cut` is the side that long texts are truncated on."""
        self._model.tokenizer.truncation_side = cut
        vectors = self._model.encode(texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
        self._model.tokenizer.truncation_side = "right"
        return np.asarray(vectors)

    def pooled(self, texts: list[str]) -> Floats:
        """Vectors (N, D) before normalization."""
        features = {
            name: tensor for name, tensor in self._model.tokenize(texts).items() if isinstance(tensor, torch.Tensor)
        }
        with torch.inference_mode():
            for module in self._model:
                if not isinstance(module, Normalize):
                    features = module(features)
        return features["sentence_embedding"].numpy()

    def count(self, texts: list[str]) -> int:
        """Total number of tokens, with special tokens."""
        return sum(int(self._model.tokenize([text])["attention_mask"].sum()) for text in texts)


class ReferenceReranker:
    """A CrossEncoder."""

    def __init__(self, full_name: str, folder: Path, max_tokens: int) -> None:
        fix = PROCESSOR_FIXES.get(full_name)
        self._max_tokens = max_tokens
        self._model = CrossEncoder(
            str(folder),
            device="cpu",
            model_kwargs={"dtype": torch.float32, "attn_implementation": "eager"},
            processor_kwargs=fix,
        )
        self._model.max_seq_length = max_tokens

    def predict(self, query: str, documents: list[str], *, raw: bool = False, cut: Side = "right") -> Floats:
        """Scores from 0 to 1, or `raw` logits: (N,); `cut` is the side that long pairs are truncated on."""
        pairs = [(query, document) for document in documents]
        self._model.tokenizer.truncation_side = cut
        activation = torch.nn.Identity() if raw else torch.nn.Sigmoid()
        scores = self._model.predict(pairs, activation_fn=activation, show_progress_bar=False)
        self._model.tokenizer.truncation_side = "right"
        return np.asarray(scores)

    def first_tokens(self, text: str, count: int) -> str:
        """The part of a text that its first `count` tokens cover."""
        offsets = self._model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(offsets) <= count else text[: offsets[count - 1][1]]

    def count(self, query: str, documents: list[str]) -> int:
        """Total number of tokens of all pairs, with special tokens."""
        encode = self._model.tokenizer
        limit = self._max_tokens
        return sum(len(encode(query, text, truncation=True, max_length=limit)["input_ids"]) for text in documents)


@cache
def embedder(full_name: str, folder: Path, max_tokens: int) -> ReferenceEmbedder:
    """Loaded once: the models are tiny."""
    return ReferenceEmbedder(full_name, folder, max_tokens)


@cache
def reranker(full_name: str, folder: Path, max_tokens: int) -> ReferenceReranker:
    """Loaded once: the models are tiny."""
    return ReferenceReranker(full_name, folder, max_tokens)
