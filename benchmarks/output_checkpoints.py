"""The models of the rows for sparse vectors and token vectors: random weights from a seed, in three published layouts.

Their widths are those of published models, so that outputs are as large. `python -m benchmarks.output_checkpoints
FOLDER` creates them.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from transformers import BertConfig, BertForMaskedLM, BertModel, XLMRobertaConfig, XLMRobertaModel

from benchmarks.checkpoints import TOKENIZER_FILES, minilm_folder
from benchmarks.workload import COLBERT, DOCUMENT, M3, SPLADE, passages

M3_WIDTHS = {"num_hidden_layers": 6, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
"""The width of bge-m3, and a quarter of its layers."""
SPLADE_WIDTHS = {"num_hidden_layers": 6, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
"""The size of splade-v3-distilbert and opensearch-neural-sparse-encoding-doc-v3-distill."""
SPLADE_TERMS = 150
"""Weights of a text. With random weights alone, half of the vocabulary would have one."""
COLBERT_WIDTHS = {"num_hidden_layers": 12, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
COLBERT_DIMENSIONS = 96
"""The size of answerai-colbert-small-v1."""
POSITIONS = 514  # two of them unused in M3, as in XLM-RoBERTa
BERT_MODULE = "sentence_transformers.sparse_encoder.models"


def make(folder: Path) -> None:
    """Write the three models."""
    _write_m3(folder / M3)
    _write_splade(folder / SPLADE)
    _write_colbert(folder / COLBERT)


def _write_m3(target: Path) -> None:
    """bge-m3's layout: the encoder, and two heads in files of their own."""
    tokens = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    config = _prepare(target, M3_WIDTHS, model_type="xlm-roberta", architectures=["XLMRobertaModel"])
    _edit(target / "tokenizer_config.json", **tokens)
    _edit(target / "special_tokens_map.json", **tokens)
    ids = Tokenizer.from_file(str(target / "tokenizer.json")).token_to_id
    _edit(target / "config.json", pad_token_id=0, **{f"{name}_id": ids(token) for name, token in tokens.items()})
    torch.manual_seed(0)
    _save(
        target, XLMRobertaModel(XLMRobertaConfig(**config | {"pad_token_id": 0}), add_pooling_layer=False).state_dict()
    )
    for name, rows in (("sparse_linear", 1), ("colbert_linear", 1024)):
        torch.save(torch.nn.Linear(1024, rows).state_dict(), target / f"{name}.pt")


def _write_splade(target: Path) -> None:
    """The layout of sentence-transformers' SparseEncoder."""
    config = _prepare(target, SPLADE_WIDTHS, architectures=["BertForMaskedLM"])
    torch.manual_seed(1)
    model = BertForMaskedLM(BertConfig(**config)).eval()
    model.cls.predictions.bias.data.sub_(_threshold(model, target))
    # the decoder is that of the embeddings; vLLM reads a copy
    _save(target, {name: tensor.clone() for name, tensor in model.state_dict().items()})
    modules = {"": "MLMTransformer", "1_SpladePooling": "SpladePooling"}
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"{BERT_MODULE}.{kind}"}
        for index, (path, kind) in enumerate(modules.items())
    ]
    _dump(target / "modules.json", listed)
    _dump(target / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    _dump(target / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None}
    _dump(target / "1_SpladePooling" / "config.json", pooling)


def _threshold(model: Any, folder: Path) -> float:
    """The logit that SPLADE_TERMS entries of the vocabulary exceed in a passage of average length."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch(passages(16, seed=0))
    with torch.no_grad():
        largest = [model(torch.tensor([text.ids])).logits[0].amax(dim=0) for text in encoded]
    return float(torch.stack(largest).topk(SPLADE_TERMS).values[:, -1].mean())


def _write_colbert(target: Path) -> None:
    """Stanford's layout: the projection among the weights. No token is skipped, as vLLM skips none."""
    config = _prepare(target, COLBERT_WIDTHS, architectures=["HF_ColBERT"])
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("[unused0]"), AddedToken(DOCUMENT.strip())])
    tokenizer.save(str(target / "tokenizer.json"))
    torch.manual_seed(2)
    state = {f"bert.{name}": tensor for name, tensor in BertModel(BertConfig(**config)).state_dict().items()}
    state["linear.weight"] = torch.nn.Linear(384, COLBERT_DIMENSIONS, bias=False).weight.data
    _save(target, state)
    metadata = {
        "query_token_id": "[unused0]",
        "doc_token_id": DOCUMENT.strip(),
        "query_maxlen": 32,
        "doc_maxlen": 512,
        "mask_punctuation": False,
        "attend_to_mask_tokens": False,
    }
    _dump(target / "artifact.metadata", metadata)


def _prepare(target: Path, widths: dict[str, int], **changes: Any) -> dict[str, Any]:
    """Write the tokenizer of MiniLM and a configuration, and return the latter."""
    source = minilm_folder()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(source / name, target / name)
    config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"_name_or_path": target.name, "max_position_embeddings": POSITIONS, **widths, **changes}
    _dump(target / "config.json", config)
    return config


def _save(target: Path, state: dict[str, Any]) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, target / "model.safetensors", {"format": "pt"}
    )


def _edit(path: Path, **changes: Any) -> None:
    _dump(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def _dump(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
