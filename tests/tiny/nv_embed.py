"""A tiny nvidia/NV-Embed-v2: a bidirectional Mistral and its latent attention, in four shards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .e5_mistral import GAINS, mistral_config, mistral_shapes, write_llama_tokenizer
from .jina_v2_flash import Shapes, draw, linear_shapes, norm_shapes, save, write_code
from .layout import SentenceFiles, write_extras, write_json, write_sentence_files

NAME = "nvidia/NV-Embed-v2"
LATENT_GAINS = {"to_q.weight": 2.0, "to_kv.weight": 1.6, "to_out.weight": 1.5, "net.2.weight": 1.5}


def _config(vocab_size: int) -> dict[str, Any]:
    """config.json with nested configs of the language model and the latent attention.

    The original uses the defaults of configuration_nvembed.py for the latent attention (512 latents, 8 heads of 4096,
    hidden and latent width 4096).
    """
    text = mistral_config(vocab_size) | {"_name_or_path": "nvidia/NV-Embed-v2", "model_type": "bidir_mistral"}
    latent = {"model_type": "latent_attention", "num_latents_value": 12, "num_cross_heads": 4}
    latent |= {"output_normalize": True, "hidden_dim": 64, "latent_dim": 64, "cross_dim_head": 32}
    return {
        "_name_or_path": "nvidia/NV-Embed-v2",
        "add_eos": True,
        "add_pad_token": True,
        "architectures": ["NVEmbedModel"],
        "auto_map": {
            "AutoConfig": "configuration_nvembed.NVEmbedConfig",
            "AutoModel": "modeling_nvembed.NVEmbedModel",
        },
        "hidden_size": 64,
        "is_mask_instruction": True,
        "latent_attention_config": latent,
        "mask_type": "b",
        "model_type": "nvembed",
        "padding_side": "right",
        "text_config": text,
        "torch_dtype": "float16",
        "transformers_version": "4.42.4",
    }


def _latent_shapes(config: dict[str, Any]) -> Shapes:
    """Names and shapes of LatentAttentionModel: cross attention without biases, then a fourfold GEGLU."""
    width, latents = config["latent_dim"], config["num_latents_value"]
    inner = config["num_cross_heads"] * config["cross_dim_head"]
    block = "latent_attention_model.cross_attend_blocks"
    shapes: Shapes = {"latent_attention_model.latents": (latents, width)}
    shapes |= linear_shapes(f"{block}.0.fn.to_q", width, inner, bias=False)
    shapes |= linear_shapes(f"{block}.0.fn.to_kv", config["hidden_dim"], 2 * inner, bias=False)
    shapes |= linear_shapes(f"{block}.0.fn.to_out", inner, width, bias=False)
    shapes |= norm_shapes(f"{block}.0.norm", width) | norm_shapes(f"{block}.0.norm_context", config["hidden_dim"])
    shapes |= linear_shapes(f"{block}.1.fn.net.0", width, 8 * width)
    shapes |= linear_shapes(f"{block}.1.fn.net.2", 4 * width, width)
    return shapes | norm_shapes(f"{block}.1.norm", width)


def build(folder: Path, seed: int) -> None:
    """Write the repository: fp16 in four shards, with code, mean pooling without the prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_llama_tokenizer(folder, add_eos_token=False))
    write_json(folder / "config.json", config)
    text, latent = config["text_config"], config["latent_attention_config"]
    shapes = mistral_shapes(text, "embedding_model.") | _latent_shapes(latent)
    save(folder, draw(NAME, seed, shapes, GAINS | LATENT_GAINS), torch.float16, shards=4)
    files = SentenceFiles(pooling="mean", max_seq_length=4096, versions=None, prompts={})
    write_sentence_files(folder, config["hidden_size"], files)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "1_Pooling" / "config.json", pooling | {"include_prompt": False})
    write_json(
        folder / "instructions.json",
        {"example": "Given a question, retrieve passages that answer the question"},
    )
    write_code(folder, ["configuration_nvembed", "modeling_nvembed"])
    write_extras(folder, NAME)


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: build}
