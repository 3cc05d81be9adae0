"""sentence-transformers on the original folder, in float32 on the CPU: whose numbers ours must equal."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from tests.tiny import bert_japanese, corpus, deberta, luke
from tests.tolerance import FLOAT32, unit_atol
from tests.variant import DTYPE

Floats = NDArray[np.float32]
Side = Literal["left", "right"]

ATOL = FLOAT32 if DTYPE in ("float32", "auto") else unit_atol("bf16")
"""How near ours must come: the apps of these tests use torch, for which `auto` is float32 on a CPU."""

_SEGMENTS = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
_XLM_ROBERTA = {"tokenizer_type": "xlm-roberta"}
_AS_STORED = {"tokenizer_type": "modernbert"}  # the class that takes tokenizer.json as it is
PROCESSOR_FIXES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(bert_japanese.BUILDERS, _SEGMENTS),
    **dict.fromkeys(luke.BUILDERS, _XLM_ROBERTA),
    **dict.fromkeys(deberta.BUILDERS, _AS_STORED),
}
"""What transformers 5 needs to read these tokenizers as they were trained (MODELS.md, section 1)."""

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
"""Mixed length and script; none beyond 512 tokens."""
LONG = (" ".join(corpus.ENGLISH) + "".join(corpus.JAPANESE) + " ") * 2
"""Beyond every limit of 512 tokens and less."""


class ReferenceEmbedder:
    """One SentenceTransformer."""

    def __init__(self, full_name: str, folder: Path, max_tokens: int) -> None:
        fix = PROCESSOR_FIXES.get(full_name)
        self._model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, processor_kwargs=fix
        )
        self._model.max_seq_length = max_tokens

    def encode(self, texts: list[str], *, prompt: str | None = None, cut: Side = "right") -> Floats:
        """Unit vectors (N, D); `cut` is the side on which too long a text loses tokens."""
        self._model.tokenizer.truncation_side = cut
        vectors = self._model.encode(texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
        self._model.tokenizer.truncation_side = "right"
        return np.asarray(vectors)

    def pooled(self, texts: list[str]) -> Floats:
        """Vectors (N, D) before anything is scaled."""
        features = {
            name: tensor for name, tensor in self._model.tokenize(texts).items() if isinstance(tensor, torch.Tensor)
        }
        with torch.inference_mode():
            for module in self._model:
                if not isinstance(module, Normalize):
                    features = module(features)
        return features["sentence_embedding"].numpy()

    def count(self, texts: list[str]) -> int:
        """Tokens that the model reads, special ones included."""
        return sum(int(self._model.tokenize([text])["attention_mask"].sum()) for text in texts)


class ReferenceReranker:
    """One CrossEncoder."""

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
        """Scores in 0..1, or `raw` logits, (N,); `cut` is the side on which too long a pair loses tokens."""
        pairs = [(query, document) for document in documents]
        self._model.tokenizer.truncation_side = cut
        activation = torch.nn.Identity() if raw else torch.nn.Sigmoid()
        scores = self._model.predict(pairs, activation_fn=activation, show_progress_bar=False)
        self._model.tokenizer.truncation_side = "right"
        return np.asarray(scores)

    def first_tokens(self, text: str, count: int) -> str:
        """The part of a text that its first `count` tokens make."""
        offsets = self._model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(offsets) <= count else text[: offsets[count - 1][1]]

    def count(self, query: str, documents: list[str]) -> int:
        """Tokens of all pairs, special ones included."""
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
