"""A tiny jinaai/jina-reranker-v1-turbo-en: a JinaBERT whose config has model_type "bert"."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from ..references import jina_bert as reference
from . import vocab
from .jina_v2_flash import Shapes, draw, linear_shapes, norm_shapes, sample_pairs, save, spread, write_code
from .layout import write_extras, write_json
from .tokenizer_files import XLM_ROBERTA_TOKENS, added_token, write_byte_level_source, write_tokenizer

NAME = "jinaai/jina-reranker-v1-turbo-en"
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _config(vocab_size: int) -> dict[str, Any]:
    """config.json of the repository: architectures name the bare model, pad_token_id differs from the tokenizer's.

    It has 12 heads like the original, because ALiBi slopes differ for numbers that are not a power of two.
    """
    heads = ("MaskedLM", "QuestionAnswering", "SequenceClassification", "TokenClassification")
    classes = {"AutoConfig": "configuration_bert.JinaBertConfig", "AutoModel": "modeling_bert.JinaBertModel"}
    classes |= {f"AutoModelFor{head}": f"modeling_bert.JinaBertFor{head}" for head in heads}
    return {
        "_name_or_path": "jinaai/jina-bert-implementation",
        "architectures": ["JinaBertModel"],
        "attention_probs_dropout_prob": 0.1,
        "attn_implementation": None,
        "auto_map": classes,
        "classifier_dropout": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "model_max_length": 8192,
        "model_type": "bert",
        "num_attention_heads": 12,
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": "bfloat16",
        "transformers_version": "4.26.0",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def _write_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE with RoBERTa's ids and template, without token types; return the number of ids."""
    pieces, merges = vocab.byte_pairs(640, None)
    ids = {token: index for index, token in enumerate(SPECIALS)}
    ids |= {piece: index + len(SPECIALS) for piece, index in pieces.items()}
    tokenizer = Tokenizer(models.BPE(ids, list(merges)))
    tokenizer.pre_tokenizer = vocab.byte_level(None)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS[:4]))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    special = XLM_ROBERTA_TOKENS | {"mask_token": added_token("<mask>", lstrip=True)}
    config = XLM_ROBERTA_TOKENS | {"add_prefix_space": False, "errors": "replace", "mask_token": "<mask>"}
    config |= {"model_max_length": 8192, "tokenizer_class": "RobertaTokenizer", "trim_offsets": True}
    write_tokenizer(folder, tokenizer, config=config, special=special)
    write_byte_level_source(folder, tokenizer)
    return int(tokenizer.get_vocab_size())


def _shapes(config: dict[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {
        "bert.embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    shapes |= norm_shapes("bert.embeddings.LayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= linear_shapes(f"{name}.attention.self.{part}", hidden, hidden)
        shapes |= linear_shapes(f"{name}.attention.output.dense", hidden, hidden)
        shapes |= norm_shapes(f"{name}.attention.output.LayerNorm", hidden)
        shapes |= linear_shapes(f"{name}.mlp.gated_layers", hidden, 2 * inner, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.wo", inner, hidden)
        shapes |= norm_shapes(f"{name}.mlp.layernorm", hidden)
    return shapes | linear_shapes("bert.pooler.dense", hidden, hidden) | linear_shapes("classifier", hidden, 1)


def build(folder: Path, seed: int) -> None:
    """Write the repository: bf16, with code and ONNX exports."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(_write_tokenizer(folder))
    write_json(folder / "config.json", config)
    gains = {"query.weight": 2.0, "key.weight": 2.0, "output.dense.weight": 2.0, "wo.weight": 3.0}
    tensors = draw(NAME, seed, _shapes(config), gains)
    save(folder, tensors, torch.bfloat16)
    save(folder, spread(tensors, "classifier", reference.logits(folder, sample_pairs(), 8192)), torch.bfloat16)
    write_code(folder, ["configuration_bert", "modeling_bert"])
    write_extras(folder, NAME, [f"onnx/{name}.onnx" for name in ("model", "model_fp16", "model_quantized")])


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: build}
