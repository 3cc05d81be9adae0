"""NV-Embed-v2: Mistral without the causal mask, then attention to trained latents, then a mean.

Based on modeling_nvembed.py of nvidia/NV-Embed-v2. The language model is that of transformers, with a mask in which
every token attends to all real tokens, and without a sliding window.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn


class CrossAttention(nn.Module):
    """Attention of tokens (queries) to latents (keys and values); no biases."""

    def __init__(self, width: int, context: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(context, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(B, T, H), (1, L, C) -> (B, T, H)."""
        batch = tokens.shape[0]
        key, value = self.to_kv(latents).expand(batch, -1, -1).chunk(2, dim=-1)
        query, key, value = (
            part.reshape(batch, part.shape[1], self.heads, -1).transpose(1, 2)
            for part in (self.to_q(tokens), key, value)
        )
        context = nn.functional.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = self.to_out(context.transpose(1, 2).flatten(2))
        return out


class GatedFeedForward(nn.Module):
    """Fourfold GEGLU: the second half of the widened input gates the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"0": nn.Linear(width, 8 * width), "2": nn.Linear(4 * width, width)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, T, H)."""
        value, gate = self.net["0"](tokens).chunk(2, dim=-1)
        out: torch.Tensor = self.net["2"](value * nn.functional.gelu(gate))
        return out


class LatentAttention(nn.Module):
    """Cross-attention to the latents and a feed-forward layer, each pre-normed, each with its residual."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, context = config["hidden_dim"], config["latent_dim"]
        attention = CrossAttention(width, context, config["num_cross_heads"], config["cross_dim_head"])
        self.latents = nn.Parameter(torch.empty(config["num_latents_value"], context))
        self.cross_attend_blocks = nn.ModuleList(
            [
                nn.ModuleDict({"fn": attention, "norm": nn.LayerNorm(width), "norm_context": nn.LayerNorm(context)}),
                nn.ModuleDict({"fn": GatedFeedForward(width), "norm": nn.LayerNorm(width)}),
            ]
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, T, H)."""
        attend, feed = (block for block in self.cross_attend_blocks)
        assert isinstance(attend, nn.ModuleDict)
        assert isinstance(feed, nn.ModuleDict)
        tokens = attend["fn"](attend["norm"](tokens), attend["norm_context"](self.latents[None])) + tokens
        out: torch.Tensor = feed["fn"](feed["norm"](tokens)) + tokens
        return out


class NVEmbedModel(nn.Module):
    """The whole network; module names are those of the checkpoint."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        kept = {key: value for key, value in config.items() if key not in ("model_type", "latent_attention")}
        mistral = transformers.MistralConfig(**{**kept, "sliding_window": None})
        self.embedding_model = transformers.MistralModel(mistral)
        self.latent_attention_model = LatentAttention(config["latent_attention"])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """(B, T) -> `last_hidden_state` (B, T, H), to be averaged over the tokens after the instruction."""
        dtype = self.embedding_model.dtype
        hidden = attention_mask[:, None, None, :] == 0
        mask = torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)
        output = self.embedding_model(input_ids=input_ids, attention_mask=mask, use_cache=False)
        return SimpleNamespace(last_hidden_state=self.latent_attention_model(output.last_hidden_state))
