"""Attention over packed texts (end to end, without padding), so that the rest of a network computes no padding.

transformers passes the bounds of the texts to the attention function. On a GPU that is torch's variable-length flash
attention; elsewhere texts attend one after the other, which is slow and exact, for tests. Without such a kernel
(OpenVINO), attention alone computes a padded rectangle, whose shape it gets instead of the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from runners.backends.footprint import QUERY_BLOCK

ATTENTION = "packed_or_padded"
EVERYTHING, EARLIER = (-1, -1), (-1, 0)
"""Unlimited windows: each token attends to the whole text, or to itself and earlier tokens."""


class Rectangle(NamedTuple):
    """Rows of packed texts, padded to one length: see UnpaddedBatch."""

    cells: torch.Tensor
    indices: torch.Tensor
    query_groups: torch.Tensor
    key_groups: torch.Tensor


def register() -> None:
    """Register the attention with transformers; padded batches use transformers' own."""
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, _mask)


def can_pack(encoder: nn.Module) -> bool:
    """Whether the encoder was loaded with a registered attention and passes bounds or a rectangle to it.

    Architectures with relative distances (DeBERTa, MPNet), ALiBi (Jina) or entities (LUKE) have their own attention.
    """
    return (
        isinstance(encoder, PreTrainedModel)
        and encoder._supports_attention_backend is True
        and AttentionInterface().get(encoder.config._attn_implementation) is attend
    )


def _mask(*args: Any, **options: Any) -> torch.Tensor | None:
    """No mask for packed texts: their bounds replace it."""
    if options.get("attention_mask") is None:
        return None
    mask: torch.Tensor | None = sdpa_mask(*args, **options)
    return mask


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    rectangle: Rectangle | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention for packed or padded texts: (1, heads, N, width) each -> (1, N, heads, width).

    For packed texts, either `cu_seq_lens_q` (B + 1) gives their bounds and `max_length_q` the longest length, or
    `rectangle` gives their places. Without either the batch is padded.
    """
    if cu_seq_lens_q is None and rectangle is None:
        padded, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, is_causal=is_causal, **options
        )
        return padded, None
    causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
    back = -1 if sliding_window is None else sliding_window - 1
    window = (back, 0 if causal else back)
    if rectangle is not None:
        options |= {"scaling": scaling, "is_causal": False}  # the mask is causal
        return _attend_in_rectangle(module, (query, key, value), rectangle, window, options), None
    assert cu_seq_lens_q is not None
    queries, keys, values = (part[0].transpose(0, 1) for part in (query, key, value))  # (N, heads, width)
    if not query.is_cuda:
        return _attend_in_turn(queries, keys, values, cu_seq_lens_q, scaling, window)[None], None
    out = varlen_attn(
        queries,
        keys,
        values,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=window,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    assert isinstance(out, torch.Tensor)  # a pair only with options that are not used here
    return out[None], None


def _attend_in_turn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    scaling: float | None,
    window: tuple[int, int],
) -> torch.Tensor:
    """(N, heads, width) each -> the same, one text after the other; memory grows with N, not with its square."""
    out = torch.empty_like(query)
    for start, end in pairwise(bounds.tolist()):
        own = tuple(part[start:end].transpose(0, 1)[None] for part in (query, key, value))
        attended = _attend_one(own, scaling, window)
        out[start:end] = attended[0].transpose(0, 1)
    return out


def _attend_one(parts: tuple[torch.Tensor, ...], scaling: float | None, window: tuple[int, int]) -> torch.Tensor:
    """(1, heads, T, width) each -> the same, for one text.

    Torch needs no mask for unlimited windows. A sliding window is computed for QUERY_BLOCK tokens at a time, as its
    whole mask would have the size (T, T).
    """
    query, key, value = parts
    length, grouped = query.shape[2], query.shape[1] != key.shape[1]
    attend_to = partial(nn.functional.scaled_dot_product_attention, scale=scaling, enable_gqa=grouped)
    back, ahead = (-1 if limit >= length else limit for limit in window)
    if (back, ahead) in (EVERYTHING, EARLIER):
        return attend_to(query, key, value, is_causal=(back, ahead) == EARLIER)
    blocks = []
    for first in range(0, length, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, length)
        visible = slice(0 if back < 0 else max(0, first - back), length if ahead < 0 else min(length, last + ahead))
        mask = _within((back, ahead), slice(first, last), visible, query.device)
        blocks.append(attend_to(query[:, :, first:last], key[:, :, visible], value[:, :, visible], attn_mask=mask))
    return torch.cat(blocks, dim=2)


def _attend_in_rectangle(
    module: nn.Module,
    parts: tuple[torch.Tensor, ...],
    rectangle: Rectangle,
    window: tuple[int, int],
    options: dict[str, Any],
) -> torch.Tensor:
    """(1, heads, N, width) each -> (1, N, heads, width), by way of (R, heads, T, width).

    The function is traced with variable R, T and N.
    """
    spread = []
    for part in parts:
        tokens = part.transpose(1, 2).flatten(2)[0]  # the layout of the previous layer, so that no data is moved
        padded = tokens[rectangle.cells]
        spread.append(padded.view(*rectangle.cells.shape, int(part.shape[1]), -1).transpose(1, 2))
    mask = _rectangle_mask(rectangle, window)
    attended: torch.Tensor = sdpa_attention_forward(module, *spread, mask, **options)[0]
    return attended.flatten(0, 1)[rectangle.indices][None]


def _rectangle_mask(rectangle: Rectangle, window: tuple[int, int]) -> torch.Tensor:
    """(R, 1, T or 1, T) booleans; any other tensor of (T, T) would be the largest of all for long texts.

    `is_causal` needs no mask, but OpenVINO would then keep the attention weights (R, heads, T, T) in float32.
    """
    same = rectangle.query_groups[:, None, :, None] == rectangle.key_groups[:, None, None]
    if window == EVERYTHING:
        return same
    places = torch.arange(rectangle.cells.shape[1])
    keys, queries = places[None], places[:, None]
    back, ahead = window
    mask = keys <= queries + ahead
    if window == EARLIER:
        return same & mask
    # without itself, a padding token might attend to no token, for which OpenVINO computes NaN
    itself = (keys == queries) & (rectangle.key_groups[:, None, None] >= 0)
    return same & mask & (keys >= queries - back) | itself


def _within(window: tuple[int, int], queries: slice, keys: slice, device: torch.device) -> torch.Tensor:
    """(queries, keys): which token attends to which, `window` tokens back and ahead; -1 means no limit."""
    back, ahead = window
    query = torch.arange(queries.start, queries.stop, device=device)[:, None]
    key = torch.arange(keys.start, keys.stop, device=device)[None]
    within = key <= query + (keys.stop if ahead < 0 else ahead)
    return within if back < 0 else within & (key >= query - back)


def _cls_pool(hidden: torch.Tensor, _counted: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The first token of each text."""
    return hidden[bounds[:-1].clip(max=len(hidden) - 1)]  # an empty text at the end begins after the last token


def _mean_pool(hidden: torch.Tensor, counted: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The average of the tokens that `counted` (N,) keeps; zeros if it keeps none."""
    weighted = torch.cat((hidden * counted[:, None], counted[:, None]), dim=1)
    sums = torch.segment_reduce(
        weighted, "sum", offsets=bounds, axis=0, unsafe=True
    )  # unsafe: no synchronisation for checks
    return sums[:, :-1] / sums[:, -1:].clip(min=1)


def _last_pool(hidden: torch.Tensor, _counted: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The last token of each text."""
    return hidden[(bounds[1:] - 1).clip(min=0)]


PACKED_POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _cls_pool,
    "mean": _mean_pool,
    "last": _last_pool,
}
"""Name in the catalogue -> (N, H), (N,), bounds (B + 1,) -> (B, H); POOLINGS for packed texts."""
