"""nomic-embed-text-v1.5: BERT's tokenizer, rotary positions, SwiGLU, and a config.json with the keys of GPT-2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import tokenizer_files
from .jina_v2_flash import Shapes, draw, linear_shapes, norm_shapes, save, write_code
from .layout import ONNX_EXTRAS, SentenceFiles, write_extras, write_json, write_sentence_files

NAME = "nomic-ai/nomic-embed-text-v1.5"
HIDDEN, LAYERS, INNER = 32, 2, 64
FILES = SentenceFiles(normalize=False, max_seq_length=8192, versions=("2.4.0.dev0", "4.37.2", "2.1.0+cu121"))


def config(vocab_size: int) -> dict[str, Any]:
    """config.json with the keys of the remote code, which inherits from GPT2Config."""
    classes = {"AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig"}
    classes["AutoModel"] = "modeling_hf_nomic_bert.NomicBertModel"
    return {
        "activation_function": "swiglu",
        "architectures": ["NomicBertModel"],
        "attn_pdrop": 0.0,
        "auto_map": {key: f"nomic-ai/nomic-bert-2048--{value}" for key, value in classes.items()},
        "bos_token_id": None,
        "causal": False,
        "dense_seq_output": True,
        "embd_pdrop": 0.0,
        "eos_token_id": None,
        "fused_bias_fc": True,
        "fused_dropout_add_ln": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 2048,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "model_type": "nomic_bert",
        "n_embd": HIDDEN,
        "n_head": 2,
        "n_inner": INNER,
        "n_layer": LAYERS,
        "n_positions": 8192,
        "pad_vocab_size_multiple": 64,
        "parallel_block": False,
        "parallel_block_tied_norm": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "torch_dtype": "float32",
        "transformers_version": "4.37.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "use_flash_attn": True,
        "use_rms_norm": False,
        "use_xentropy": True,
        "vocab_size": vocab_size,
    }


def _shapes(vocab_size: int) -> Shapes:
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (vocab_size, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    shapes |= norm_shapes("emb_ln", HIDDEN)
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}"
        shapes |= linear_shapes(f"{name}.attn.Wqkv", HIDDEN, 3 * HIDDEN, bias=False)
        shapes |= linear_shapes(f"{name}.attn.out_proj", HIDDEN, HIDDEN, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.fc11", HIDDEN, INNER, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.fc12", HIDDEN, INNER, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.fc2", INNER, HIDDEN, bias=False)
        shapes |= norm_shapes(f"{name}.norm1", HIDDEN) | norm_shapes(f"{name}.norm2", HIDDEN)
    return shapes


def write(folder: Path, seed: int) -> None:
    """Transformer and mean pooling; the weights in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = -(-tokenizer_files.write_bert(folder, max_length=8192) // 64) * 64
    write_json(folder / "config.json", config(vocab_size))
    gains = {"Wqkv.weight": 1.8, "out_proj.weight": 2.0, "fc2.weight": 3.0}
    save(folder, draw(NAME, seed, _shapes(vocab_size), gains), torch.float32)
    write_sentence_files(folder, HIDDEN, FILES)
    write_code(folder, ["modeling_hf_nomic_bert"])
    write_extras(folder, NAME, ONNX_EXTRAS)


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: write}
