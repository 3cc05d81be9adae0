"""jina-reranker-v2: XLM-R with the module names of a flash-attention fork, converted to the native class.

The network is post-norm XLM-R with query, key and value fused into one matrix. Renamed tensors give the same
logits; llama.cpp and vLLM use this mapping.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from importing.conversion.checkpoint import read_json, rewrite, write_json
from importing.conversion.native import REMOTE_CODE_KEYS
from models.catalog import ModelSpec

_FLASH_KEYS = ("use_flash_attn", "emb_pooler", "output_past", *REMOTE_CODE_KEYS)
_LAYER = re.compile(r"roberta\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_PARTS = {
    "mixer.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm2": "output.LayerNorm",
}


def convert(source: Path, target: Path, _spec: ModelSpec) -> None:
    """Write native XLM-R weights and a config.json that names the native class."""
    config = {key: value for key, value in read_json(source / "config.json").items() if key not in _FLASH_KEYS}
    config |= {"model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"]}
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}  # one label: one logit
    write_json(target / "config.json", config)
    rewrite(source, target, rename)


def rename(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Convert one tensor of the fork to one native tensor, or to three if query, key and value are fused."""
    name = name.replace("roberta.emb_ln.", "roberta.embeddings.LayerNorm.")
    match = _LAYER.fullmatch(name)
    if match is None:
        return {name: tensor}
    layer, part, kind = match.groups()
    prefix = f"roberta.encoder.layer.{layer}"
    if part == "mixer.Wqkv":
        thirds = tensor.chunk(3, dim=0)
        return {
            f"{prefix}.attention.self.{side}.{kind}": third
            for side, third in zip(("query", "key", "value"), thirds, strict=True)
        }
    return {f"{prefix}.{_PARTS.get(part, part)}.{kind}": tensor}
