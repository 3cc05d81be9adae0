"""all-mpnet-base-v2: MPNet, with one table of relative position biases shared by all layers."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import MPNetModel

from . import layout, tokenizer_files, weights
from .layout import OPENVINO_EXTRAS, SentenceFiles

NAME = "sentence-transformers/all-mpnet-base-v2"
HIDDEN = 48
FILES = SentenceFiles(max_seq_length=384, versions=("2.0.0", "4.6.1", "1.8.1"), legacy_pooling=True)
EXTRAS = ("data_config.json", "train_script.py", "onnx/model.onnx", *OPENVINO_EXTRAS)


def write(folder: Path, seed: int) -> None:
    """The config names MPNetForMaskedLM like the original, although the weights are a bare encoder."""
    vocab_size = tokenizer_files.write_mpnet(folder)
    config = {
        "_name_or_path": "microsoft/mpnet-base",
        "architectures": ["MPNetForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 2 * HIDDEN,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "model_type": "mpnet",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "relative_attention_num_buckets": 32,
        "transformers_version": "4.8.2",
        "vocab_size": vocab_size,
    }
    model = weights.build_model(MPNetModel, folder, config)
    weights.fill(model, weights.generator(NAME, seed))
    state = weights.tensors(model, torch.float32, position_ids="embeddings")
    weights.write_safetensors(folder, state)
    weights.write_pickle(folder, state)
    layout.write_sentence_files(folder, HIDDEN, FILES)
    layout.write_extras(folder, NAME, EXTRAS)


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: write}
