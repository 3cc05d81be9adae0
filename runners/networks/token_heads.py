"""The layers from the states of tokens to token weights, weights of the vocabulary, and vectors of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from errors import UnsupportedModelError
from models.facts import SparseHead
from runners.backends.footprint import LOGIT_TOKENS
from runners.contracts import Wanted


class TokenHeads(nn.Module):
    """The heads of one model.

    `weights` is a Linear (H -> 1), `vocabulary` a masked-LM head (H -> V), `vectors` the layers to token vectors.
    """

    def __init__(
        self,
        *,
        weights: nn.Module | None = None,
        vocabulary: nn.Module | None = None,
        vectors: nn.Module | None = None,
        sparse: SparseHead | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.vocabulary = vocabulary
        self.vectors = vectors
        self._sparse = sparse

    def forward(self, states: torch.Tensor, bounds: torch.Tensor, wanted: Wanted) -> dict[Wanted, torch.Tensor]:
        """States (N, H) of B texts, which begin at `bounds` (B + 1,) -> the wanted outputs.

        Sparse: token weights (N,), or those of the vocabulary (B, V). Tokens: unit vectors (N, D).
        """
        found = {}
        if Wanted.SPARSE in wanted and self.weights is not None:
            found[Wanted.SPARSE] = self.weights(states)[:, 0].relu()
        if Wanted.SPARSE in wanted and self.vocabulary is not None:
            found[Wanted.SPARSE] = self._vocabulary_weights(states, bounds.tolist())
        if Wanted.TOKENS in wanted and self.vectors is not None:
            found[Wanted.TOKENS] = nn.functional.normalize(self.vectors(states), dim=-1)
        return found

    def _vocabulary_weights(self, states: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor:
        """(N, H) -> (B, V), LOGIT_TOKENS at a time. A maximum is taken before the activation, which is monotonic."""
        assert self.vocabulary is not None
        assert self._sparse is not None
        pooled: torch.Tensor | None = None
        dtype = next(self.vocabulary.parameters()).dtype
        for first in range(0, len(states), LOGIT_TOKENS):
            logits = self.vocabulary(states[first : first + LOGIT_TOKENS].to(dtype)).float()
            if self._sparse.pooling == "sum":
                logits = self.activate(logits)
            if pooled is None:
                pooled = logits.new_zeros(len(bounds) - 1, logits.shape[1])
            for text, (start, end) in enumerate(pairwise(bounds)):
                part = logits[max(0, start - first) : max(0, end - first)]
                if len(part) and self._sparse.pooling == "sum":
                    pooled[text] += part.sum(dim=0)
                elif len(part):
                    torch.maximum(pooled[text], part.amax(dim=0), out=pooled[text])
        assert pooled is not None
        return pooled if self._sparse.pooling == "sum" else self.activate(pooled)

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        """Weights of logits, of any shape."""
        assert self._sparse is not None
        weights = logits.relu().log1p()
        return weights.log1p() if self._sparse.activation == "log1p_log1p" else weights


class MaskedLanguageHead(nn.Module):
    """The layers of a ...ForMaskedLM of transformers after its encoder: (N, H) -> (N, V)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_masked_lm_layers(model))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(N, H) -> (N, V)."""
        for layer in self.layers:
            states = layer(states)
        return states


def _masked_lm_layers(model: Any) -> list[nn.Module]:
    """UnsupportedModelError if the architecture is none of those of BERT, RoBERTa, DistilBERT and ModernBERT."""
    if hasattr(model, "cls") and hasattr(model.cls, "predictions"):
        return [model.cls.predictions]
    if hasattr(model, "lm_head"):
        return [model.lm_head]
    if hasattr(model, "vocab_transform"):
        return [model.vocab_transform, model.activation, model.vocab_layer_norm, model.vocab_projector]
    if hasattr(model, "head") and hasattr(model, "decoder"):
        return [model.head, model.decoder]
    raise UnsupportedModelError(f"The masked-LM head of {type(model).__name__} is not supported.")
