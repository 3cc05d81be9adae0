"""JinaBERT as a cross-encoder: BERT without positions, with symmetric ALiBi and a gated feed-forward layer.

Based on the modelling code of jinaai/jina-reranker-v1-turbo-en ("jina-bert-implementation"): post-norm layers, an
exact GELU on the first half of the gate, a tanh pooler on the first token. transformers has no such class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from runners.backends.footprint import QUERY_BLOCK

BIAS_ROWS = 256
"""Queries per block of the bias of a long text: 100 MB for 8192 tokens."""


def alibi_slopes(heads: int) -> list[float]:
    """Slope of each head's linear bias.

    Powers of two as in the ALiBi paper (Press et al. 2022, section 3). For other numbers of heads the paper takes every
    second slope of the next power of two; this model's code halves those ("quick fix on large jump").
    """
    closest = 2 ** math.floor(math.log2(heads))
    base = 2.0 ** (-8.0 / closest)
    slopes = [base ** (index + 1) for index in range(closest)]
    step = 2.0 ** (-4.0 / closest)
    return slopes + [step ** (2 * index + 1) / 2 for index in range(heads - closest)]


class AlibiBias:
    """-slope x distance for real keys, the lowest number for padding: (B, heads, T, T), in blocks of rows.

    The whole bias would take 3 GB for 8192 tokens. All layers share one bias for texts of at most QUERY_BLOCK
    tokens, and in a traced network, because a trace would fix the number of blocks.
    """

    def __init__(self, slopes: list[float], attention_mask: torch.Tensor, dtype: torch.dtype) -> None:
        self._length = attention_mask.shape[1]
        self._places = torch.arange(self._length, device=attention_mask.device, dtype=torch.float32)
        self._steepness = torch.tensor(slopes, device=attention_mask.device)[:, None, None]
        self._padding = attention_mask[:, None, None, :] == 0
        self._dtype = dtype
        traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # torch
        self._whole = self._rows(slice(None)) if traced or self._length <= QUERY_BLOCK else None

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the rows of queries and their bias (B, heads, queries, T)."""
        if self._whole is not None:
            yield slice(None), self._whole
            return
        for first in range(0, self._length, BIAS_ROWS):
            rows = slice(first, first + BIAS_ROWS)
            yield rows, self._rows(rows)

    def _rows(self, rows: slice) -> torch.Tensor:
        distance = (self._places[None, :] - self._places[rows, None]).abs()
        return (-self._steepness * distance).to(self._dtype).masked_fill(self._padding, torch.finfo(self._dtype).min)


class Embeddings(nn.Module):
    """Word and segment embeddings: (B, T) -> (B, T, H)."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """(B, T), (B, T) -> (B, T, H)."""
        words = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        normed: torch.Tensor = self.LayerNorm(words)
        return normed


class Attention(nn.Module):
    """Self-attention with an additive bias, and its residual."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.self = nn.ModuleDict({part: nn.Linear(size, size) for part in ("query", "key", "value")})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(size, size), "LayerNorm": nn.LayerNorm(size, eps=config.layer_norm_eps)}
        )

    def forward(self, hidden: torch.Tensor, bias: AlibiBias) -> torch.Tensor:
        """(B, T, H) -> (B, T, H)."""
        batch, length, size = hidden.shape
        query, key, value = (
            self.self[part](hidden).view(batch, length, self.heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        attention = nn.functional.scaled_dot_product_attention
        blocks = [attention(query[:, :, rows], key, value, attn_mask=mask) for rows, mask in bias.blocks()]
        context = torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]
        merged = context.transpose(1, 2).reshape(batch, length, size)
        normed: torch.Tensor = self.output["LayerNorm"](self.output["dense"](merged) + hidden)
        return normed


class FeedForward(nn.Module):
    """GEGLU: the first half of the widened input gates the second."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, T, H), residual included."""
        gate, value = self.gated_layers(hidden).chunk(2, dim=-1)
        normed: torch.Tensor = self.layernorm(self.wo(nn.functional.gelu(gate) * value) + hidden)
        return normed


class Layer(nn.Module):
    """One encoder layer."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.mlp = FeedForward(config)

    def forward(self, hidden: torch.Tensor, bias: AlibiBias) -> torch.Tensor:
        """(B, T, H) -> (B, T, H)."""
        mixed: torch.Tensor = self.mlp(self.attention(hidden, bias))
        return mixed


class Encoder(nn.Module):
    """The layers; the name is that of the checkpoint."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Pooler(nn.Module):
    """The layer before the classifier; the name is that of the checkpoint."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, H), of the first token."""
        return torch.tanh(self.dense(hidden[:, 0]))


class JinaBertModel(nn.Module):
    """Everything below the classifier; module names are those of the checkpoint."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self._slopes = alibi_slopes(config.num_attention_heads)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> SimpleNamespace:
        """(B, T) -> `last_hidden_state` (B, T, H)."""
        hidden = self.embeddings(input_ids, token_type_ids)
        bias = AlibiBias(self._slopes, attention_mask, hidden.dtype)
        for layer in self.encoder.layer:
            hidden = layer(hidden, bias)
        return SimpleNamespace(last_hidden_state=hidden)


class JinaBertForSequenceClassification(nn.Module):
    """The whole network; module names are those of the checkpoint."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        settings = SimpleNamespace(**config)
        self.bert = JinaBertModel(settings)
        self.classifier = nn.Linear(settings.hidden_size, 1)
