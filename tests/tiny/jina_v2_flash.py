"""A tiny jinaai/jina-reranker-v2-base-multilingual, and random weights for other models with their own code.

No class of transformers has these tensor names, so the shapes are written out and weights are drawn by name.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..references import jina_v2_flash as reference
from ..references.reading import Array
from . import vocab
from .corpus import ENGLISH, JAPANESE
from .layout import write_extras, write_json
from .tokenizer_files import XLM_ROBERTA_TOKENS, added_token, write_tokenizer
from .weights import LOGIT_STD, generator, write_pickle, write_safetensors

NAME = "jinaai/jina-reranker-v2-base-multilingual"
CODE = (
    "block",
    "configuration_xlm_roberta",
    "embedding",
    "mha",
    "mlp",
    "modeling_xlm_roberta",
    "stochastic_depth",
)
ONNX = ("model", "model_bnb4", "model_fp16", "model_int8", "model_q4", "model_quantized", "model_uint8")

TABLES = ("embeddings.weight", "embed_tokens.weight", "latents")

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]


def draw(name: str, seed: int, shapes: Shapes, gains: dict[str, float]) -> Tensors:
    """Random float32 tensors that all affect the result.

    Norm weights are close to 1, biases to 0. A matrix multiplies the variance by the gain whose key ends its name:
    query and key matrices have a larger one, so that attention is not uniform.
    """
    random = generator(name, seed)
    tensors: Tensors = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=random)
        gain = next((value for ending, value in gains.items() if key.endswith(ending)), 1.0)
        if key.endswith("bias"):
            tensors[key] = 0.1 * noise
        elif len(shape) == 1:
            tensors[key] = 1.0 + 0.2 * noise
        elif key.endswith(TABLES):
            tensors[key] = gain * noise
        else:
            tensors[key] = gain * noise / shape[1] ** 0.5
    return tensors


def linear_shapes(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """weight and, by default, bias of one linear layer."""
    shapes: Shapes = {f"{name}.weight": (outputs, inputs)}
    return shapes | {f"{name}.bias": (outputs,)} if bias else shapes


def norm_shapes(name: str, size: int) -> Shapes:
    """weight and bias of one layer norm."""
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def save(folder: Path, tensors: Tensors, dtype: torch.dtype, *, shards: int = 1) -> Tensors:
    """Write model.safetensors, or shards with their index, in the stored dtype; return what was written."""
    stored = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    if shards == 1:
        write_safetensors(folder, stored)
        return stored
    names = sorted(stored)
    files = [f"model-{number + 1:05d}-of-{shards:05d}.safetensors" for number in range(shards)]
    weight_map = {name: files[place * shards // len(names)] for place, name in enumerate(names)}
    for file in files:
        write_safetensors(folder, {name: stored[name] for name in names if weight_map[name] == file}, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)
    return stored


def spread(tensors: Tensors, head: str, logits: Sequence[float] | Array) -> Tensors:
    """The tensors with a scaled head, so that the logits have mean 0 and standard deviation `LOGIT_STD`."""
    values = torch.tensor(list(logits))
    factor = LOGIT_STD / values.std()
    shift = (tensors[f"{head}.bias"] - values.mean()) * factor
    return tensors | {f"{head}.weight": tensors[f"{head}.weight"] * factor, f"{head}.bias": shift}


def sample_pairs() -> list[tuple[str, str]]:
    """Two questions, each with all sentences of the corpus, for scaling the logits."""
    questions = (ENGLISH[0], JAPANESE[0])
    return [(question, document) for question in questions for document in (ENGLISH + JAPANESE)[1::3]]


def write_code(folder: Path, names: Sequence[str]) -> None:
    """Write remote code that must not run: importing it raises."""
    for name in names:
        text = f'raise RuntimeError("remote code was executed: {name}.py")\n'
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def write_xlm_roberta_json(folder: Path, max_tokens: int) -> int:
    """Write the fast files of XLM-R without sentencepiece.bpe.model; return the number of ids."""
    tokenizer = vocab.xlm_roberta()
    special = XLM_ROBERTA_TOKENS | {"mask_token": added_token("<mask>", lstrip=True)}
    config = XLM_ROBERTA_TOKENS | {"clean_up_tokenization_spaces": True, "mask_token": "<mask>"}
    config |= {"model_max_length": max_tokens, "tokenizer_class": "XLMRobertaTokenizer"}
    write_tokenizer(folder, tokenizer, config=config, special=special)
    return int(tokenizer.get_vocab_size())


def _config(vocab_size: int) -> dict[str, Any]:
    """config.json of the repository, without model_type."""
    classes = {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}
    classes["AutoModel"] = "modeling_xlm_roberta.XLMRobertaModel"
    classes["AutoModelForSequenceClassification"] = "modeling_xlm_roberta.XLMRobertaForSequenceClassification"
    return {
        "_name_or_path": "jinaai/jina-reranker-v2-base-multilingual",
        "architectures": ["XLMRobertaForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "auto_map": classes,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "emb_pooler": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 48,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 1026,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_labels": 1,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.0",
        "type_vocab_size": 1,
        "use_cache": False,
        "use_flash_attn": True,
        "vocab_size": vocab_size,
    }


def _shapes(config: dict[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    embeddings = "roberta.embeddings"
    shapes: Shapes = {
        f"{embeddings}.word_embeddings.weight": (config["vocab_size"], hidden),
        f"{embeddings}.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        f"{embeddings}.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    shapes |= norm_shapes("roberta.emb_ln", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"roberta.encoder.layers.{layer}"
        shapes |= linear_shapes(f"{name}.mixer.Wqkv", hidden, 3 * hidden)
        shapes |= linear_shapes(f"{name}.mixer.out_proj", hidden, hidden)
        shapes |= norm_shapes(f"{name}.norm1", hidden)
        shapes |= linear_shapes(f"{name}.mlp.fc1", hidden, inner)
        shapes |= linear_shapes(f"{name}.mlp.fc2", inner, hidden)
        shapes |= norm_shapes(f"{name}.norm2", hidden)
    return shapes | linear_shapes("classifier.dense", hidden, hidden) | linear_shapes("classifier.out_proj", hidden, 1)


def build(folder: Path, seed: int) -> None:
    """Write the repository: bf16, as safetensors and as a pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_xlm_roberta_json(folder, 1024))
    write_json(folder / "config.json", config)
    gains = {"position_embeddings.weight": 0.5, "Wqkv.weight": 1.8, "out_proj.weight": 2.0, "fc2.weight": 2.0}
    tensors = draw(NAME, seed, _shapes(config), gains)
    save(folder, tensors, torch.bfloat16)
    tensors = spread(tensors, "classifier.out_proj", reference.logits(folder, sample_pairs(), 1024))
    write_pickle(folder, save(folder, tensors, torch.bfloat16))
    write_code(folder, (*CODE, "xlm_padding"))
    write_extras(folder, NAME, [f"onnx/{name}.onnx" for name in ONNX])


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: build}
