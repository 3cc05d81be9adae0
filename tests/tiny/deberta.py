"""mxbai-rerank-large-v1: DeBERTa-v3 large, relative positions in log buckets, stored in half precision."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import DebertaV2ForSequenceClassification

from . import layout, tokenizer_files, weights
from .layout import ONNX_EXTRAS

NAME = "mixedbread-ai/mxbai-rerank-large-v1"
HIDDEN = 48


def write(folder: Path, seed: int) -> None:
    """The word table is 100 rows longer than the pieces (128100 against 128000); the first is `[MASK]`."""
    random = weights.generator(NAME, seed)
    vocab_size = tokenizer_files.write_deberta(folder) + 100
    config = {
        "_name_or_path": "microsoft/deberta-v3-large",
        "architectures": ["DebertaV2ForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 2 * HIDDEN,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-07,
        "max_position_embeddings": 512,
        "max_relative_positions": -1,
        "model_type": "deberta-v2",
        "norm_rel_ebd": "layer_norm",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "pooler_dropout": 0,
        "pooler_hidden_act": "gelu",
        "pooler_hidden_size": HIDDEN,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "position_buckets": 256,
        "relative_attention": True,
        "share_att_key": True,
        "torch_dtype": "float16",
        "transformers_version": "4.37.2",
        "type_vocab_size": 0,
        "vocab_size": vocab_size,
    }
    model = weights.build_model(DebertaV2ForSequenceClassification, folder, config)
    weights.fill(model, random)
    weights.spread_logits(model, model.classifier, tokenizer_files.encode_pairs(folder))
    weights.write_safetensors(folder, weights.tensors(model, torch.float16))
    layout.write_extras(folder, NAME, (*ONNX_EXTRAS, "onnx/model_quantized.onnx"))


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: write}
