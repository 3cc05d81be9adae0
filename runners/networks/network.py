"""A model in two parts: a body that may run in half precision, and a small head that always runs in float32.

The body returns one row per text. Half precision in the head would make high scores tie, and float32 costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.facts import ModelFacts
from runners.contracts import Wanted
from runners.networks.packing import PACKED_POOLINGS, Rectangle
from runners.networks.pooling import POOLINGS
from runners.networks.token_heads import TokenHeads


class Body(nn.Module):
    """An encoder and its pooling: (B, T) ids -> (B, H) in float32."""

    def __init__(self, encoder: nn.Module, pooling: str, *, segments: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pool: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = POOLINGS[pooling]
        self.pool_packed = PACKED_POOLINGS[pooling]
        self._segments = segments

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The arguments of `with_states`, in order -> (B, H)."""
        return self.with_states(*inputs)[0]

    def with_states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pooling_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) each -> (B, H), and the states of tokens (B, T, H) in float32."""
        states = self._encode(self._inputs(input_ids, attention_mask, token_type_ids))
        return self.pool(states, pooling_mask.float()), states

    def _inputs(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._segments and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        return inputs

    def _encode(self, inputs: dict[str, Any]) -> torch.Tensor:
        states: torch.Tensor = self.encoder(**inputs).last_hidden_state.float()
        return states

    def forward_packed(self, tokens: torch.Tensor, bounds: torch.Tensor, longest: int) -> torch.Tensor:
        """The fields of PackedBatch -> (B, H), for an encoder with the attention of packing.py."""
        return self.pool_packed(self.packed_states(tokens, bounds, longest), tokens[2].float(), bounds)

    def packed_states(self, tokens: torch.Tensor, bounds: torch.Tensor, longest: int) -> torch.Tensor:
        """The last hidden states: the fields of PackedBatch -> (N, H) in float32."""
        ids, positions, _, segments = tokens.unsqueeze(1)
        inputs = self.packed_inputs(ids, positions, segments)
        limits = {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
        return self._encode(inputs | limits)[0]

    def packed_inputs(
        self, ids: torch.Tensor, positions: torch.Tensor, segments: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The encoder's inputs for packed tokens, (1, N) each, with positions as the encoder counts them."""
        inputs = {"input_ids": ids, "position_ids": positions + self._first_position()}
        if self._segments and segments is not None:
            inputs["token_type_ids"] = segments
        return inputs

    def _first_position(self) -> int:
        """The first position: the RoBERTa family counts from padding_idx + 1."""
        embeddings: Any = getattr(self.encoder, "embeddings", None)
        return embeddings.padding_idx + 1 if hasattr(embeddings, "create_position_ids_from_input_ids") else 0


class UnpaddedBody(nn.Module):
    """A body whose encoder has the attention of packing.py: the fields of UnpaddedBatch -> (B, H) in float32."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The arguments of `with_states`, in order -> (B, H)."""
        return self.with_states(*inputs)[0]

    def with_states(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        key_groups: torch.Tensor,
        pooling_mask: torch.Tensor,
        places: torch.Tensor,
        indices: torch.Tensor,
        cells: torch.Tensor,
        query_groups: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, N), (R, T), (B, T) and (N,) ids -> (B, H), and the states of tokens (N, H)."""
        inputs = self.body.packed_inputs(input_ids, position_ids, token_type_ids)
        rectangle = Rectangle(cells, indices, query_groups, key_groups)
        states = self.body.encoder(**inputs, rectangle=rectangle).last_hidden_state[0].float()
        return self.body.pool(states[places], pooling_mask.float()), states


class WithStates(nn.Module):
    """A body that also returns the states of its tokens: (B, H) and (B, T, H), or (N, H) without padding."""

    def __init__(self, body: Body | UnpaddedBody) -> None:
        super().__init__()
        self.body = body

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The arguments of the body, in order."""
        return self.body.with_states(*inputs)


class Network(nn.Module):
    """Body and head: (B, T) ids -> (B, D) vectors or (B, 1) logits.

    `token_heads` compute the other outputs of a model from the states of tokens.
    """

    def __init__(self, body: Body, head: nn.Module | None, token_heads: TokenHeads | None = None) -> None:
        super().__init__()
        self.body = body
        self.head = None if head is None else head.float()
        self.token_heads = token_heads or TokenHeads()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The arguments of Body.forward, in order."""
        return self._finish(self.body(*inputs))

    def forward_packed(self, tokens: torch.Tensor, bounds: torch.Tensor, longest: int) -> torch.Tensor:
        """The same for the fields of PackedBatch."""
        return self._finish(self.body.forward_packed(tokens, bounds, longest))

    def outputs(
        self, states: torch.Tensor, counted: torch.Tensor, bounds: torch.Tensor, wanted: Wanted
    ) -> dict[Wanted, torch.Tensor]:
        """The wanted outputs of B texts from the states (N, H) of their tokens, end to end.

        `counted` (N,) says which tokens pooling uses; `bounds` (B + 1,) where each text begins. Dense vectors have the
        shape (B, D); the shapes of the other outputs are those of TokenHeads.
        """
        found: dict[Wanted, torch.Tensor] = self.token_heads(states, bounds, wanted)
        if Wanted.DENSE in wanted:
            found[Wanted.DENSE] = self._finish(self.body.pool_packed(states, counted, bounds))
        if Wanted.STATES in wanted:
            found[Wanted.STATES] = states
        return found

    def _finish(self, rows: torch.Tensor) -> torch.Tensor:
        return rows if self.head is None else self.head(rows)


_LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Keys of config.json with which a language model changes its logits."""


class ClassificationHead(nn.Module):
    """The layers from pooled rows to logits: (B, H) -> (B, labels)."""

    def __init__(self, *stages: nn.Module | Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._stages = stages
        self.parts = nn.ModuleList(stage for stage in stages if isinstance(stage, nn.Module))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, H) -> (B, labels)."""
        for stage in self._stages:
            rows = stage(rows)
        return rows


def split_encoder(
    encoder: nn.Module, layers: nn.Module | None, facts: ModelFacts, token_heads: TokenHeads | None = None
) -> Network:
    """Split an encoder with a pooling of its own, which is the body; the layers after it, if any, are the head.

    An encoder without a pooling computes no dense vectors; its rows are the states of the first tokens.
    """
    return Network(Body(encoder, facts.pooling or "cls", segments=facts.token_type_ids), layers, token_heads)


def split_classifier(model: Any, facts: ModelFacts) -> Network:
    """Split a ...ForSequenceClassification of transformers, or one of ours, after the pooled token."""
    encoder = getattr(model, getattr(model, "base_model_prefix", "bert"))
    pooling = "cls"
    if hasattr(model.classifier, "out_proj"):  # the RoBERTa family: its head picks the first token itself
        head = ClassificationHead(_as_sequence, model.classifier)
    elif hasattr(model, "head"):  # ModernBERT
        pooling = model.config.classifier_pooling
        head = ClassificationHead(model.head, model.classifier)
    elif hasattr(model, "pooler"):  # DeBERTa
        head = ClassificationHead(_as_sequence, model.pooler, model.classifier)
    else:  # BERT, gte, JinaBERT: the pooler belongs to the encoder
        pooler, encoder.pooler = encoder.pooler, None
        head = ClassificationHead(_as_sequence, pooler, model.classifier)
    return Network(Body(encoder, pooling, segments=facts.token_type_ids), head)


def split_prompted(model: Any, facts: ModelFacts, yes: int, no: int | None = None) -> Network:
    """Split a prompted model: the head computes logit(yes) - logit(no), or logit(yes), at the last token.

    ValueError if the logits are not a linear function of the last state.
    """
    for name in _LOGIT_CHANGES:
        if getattr(model.config, name, None) not in (None, 1):
            raise ValueError(f"{name} in config.json is not supported")
    output = model.get_output_embeddings()
    rows = output.weight.detach().float()
    biases = torch.zeros(len(rows)) if output.bias is None else output.bias.detach().float()
    head = nn.Linear(rows.shape[1], 1)
    head.weight = nn.Parameter((rows[yes] if no is None else rows[yes] - rows[no])[None].clone())
    head.bias = nn.Parameter((biases[yes] if no is None else biases[yes] - biases[no])[None].clone())
    return Network(Body(model.model, "last", segments=facts.token_type_ids), head)


def _as_sequence(rows: torch.Tensor) -> torch.Tensor:
    """(B, H) -> (B, 1, H), for heads that select the first token."""
    return rows[:, None]
