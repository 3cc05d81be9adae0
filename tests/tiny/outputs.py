"""Tiny sparse and multi-vector models, one for each layout of such repositories.

    from tests.tiny import outputs
    folder = outputs.build("splade", tmp_path / "splade")

The layouts of sentence-transformers are saved by that library; the others, which are older, are written by hand.
"""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder, SparseEncoder
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import AutoConfig, AutoModelForMaskedLM, DistilBertConfig, PreTrainedConfig, RobertaConfig

from tests.tiny import tokenizer_files, vocab, weights

MINILM, MODERNBERT = "sentence-transformers/all-MiniLM-L6-v2", "Alibaba-NLP/gte-modernbert-base"
JAPANESE = "cl-nagoya/ruri-base"
MODULES = {MINILM: "tests.tiny.bert", MODERNBERT: "tests.tiny.modernbert", JAPANESE: "tests.tiny.bert_japanese"}
WIDTH = 12
LIMIT = 64
CARD = "---\nlicense: apache-2.0\nlanguage: en\ntags: [splade, query-expansion]\n---\n"
PREFIXES = {"query": "[Q] ", "document": "[D] "}
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")


def _encoder(folder: Path, repo: str = MINILM) -> Path:
    """The encoder of a tiny model, without the files of sentence-transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    import_module(MODULES[repo]).BUILDERS[repo](folder, 0)
    shutil.rmtree(folder / "1_Pooling")
    for name in _SENTENCE_FILES:
        (folder / name).unlink(missing_ok=True)
    return folder


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def _masked_lm(folder: Path, repo: str = MINILM) -> Path:
    """A masked language model with the tokenizer of a tiny model."""
    _encoder(folder, repo)
    return _filled(folder, AutoConfig.from_pretrained(folder), repo)


def _filled(folder: Path, config: PreTrainedConfig, name: str) -> Path:
    """Write the weights and config.json of a masked language model."""
    model = AutoModelForMaskedLM.from_config(config)
    weights.fill(model, weights.generator(f"{name} masked-LM", 0))
    model.save_pretrained(folder)
    _edit(folder / "config.json", architectures=[type(model).__name__])
    return folder


def _distilbert(folder: Path) -> Path:
    """DistilBERT, as the models of opensearch-project, with BERT's tokenizer but without segments."""
    _encoder(folder)
    _edit(folder / "tokenizer_config.json", tokenizer_class="DistilBertTokenizer")
    size = int(AutoConfig.from_pretrained(folder).vocab_size)
    (folder / "config.json").unlink()
    return _filled(
        folder, DistilBertConfig(vocab_size=size, dim=32, hidden_dim=64, n_layers=2, n_heads=4), "distilbert"
    )


def _roberta(folder: Path) -> Path:
    """RoBERTa, as granite-embedding-30m-sparse: byte-level pieces after four special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces, merges = vocab.byte_pairs(900, None)
    special = ("<s>", "<pad>", "</s>", "<unk>")
    ids = {token: index for index, token in enumerate((*special, *sorted(pieces, key=pieces.__getitem__), "<mask>"))}
    tokenizer = Tokenizer(models.BPE(ids, list(merges)))
    tokenizer.pre_tokenizer = vocab.byte_level(None)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = vocab.template("<s>", "</s>", ids, "<s> $A </s> </s> $B </s>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*special, "<mask>")])
    names = tokenizer_files.XLM_ROBERTA_TOKENS | {"mask_token": tokenizer_files.added_token("<mask>", lstrip=True)}
    about = tokenizer_files.XLM_ROBERTA_TOKENS | {"mask_token": "<mask>", "model_max_length": 512}
    tokenizer_files.write_tokenizer(
        folder, tokenizer, config=about | {"tokenizer_class": "RobertaTokenizer"}, special=names
    )
    tokenizer_files.write_byte_level_source(folder, tokenizer)
    config = RobertaConfig(
        vocab_size=len(ids),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=2,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return _filled(folder, config, "roberta")


def masked_lm(folder: Path, repo: str = MINILM) -> None:
    """A repository without modules, whose card says that it is sparse, and with the old names of LayerNorm."""
    _masked_lm(folder, repo)
    state = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    (folder / "README.md").write_text(CARD, encoding="utf-8")


def _transformer(folder: Path, **options: Any) -> Transformer:
    return Transformer(str(folder), transformer_task="fill-mask", max_seq_length=LIMIT, **options)


def splade(folder: Path, network: Callable[[Path], Path] = _masked_lm, pooling: Any = "max") -> None:
    """Modules MLMTransformer and SpladePooling."""
    transformer = _transformer(network(folder / "work"))
    SparseEncoder(modules=[transformer, SpladePooling(pooling)]).save_pretrained(str(folder))
    shutil.rmtree(folder / "work")


def inference_free(folder: Path, network: Callable[[Path], Path] = _masked_lm) -> None:
    """A Router: a table of weights for queries, SPLADE for documents."""
    transformer = _transformer(network(folder / "work"))
    size = int(transformer.config.vocab_size)
    table = SparseStaticEmbedding(transformer.tokenizer, torch.rand(size, generator=weights.generator("table", 0)))
    router = Router.for_query_document([table], [transformer, SpladePooling("max", "log1p_relu")])
    SparseEncoder(modules=[router]).save_pretrained(str(folder))
    shutil.rmtree(folder / "work")


def opensearch(folder: Path) -> None:
    """The same, with the network in the repository itself, as in those of opensearch-project."""
    inference_free(folder, _distilbert)
    network = folder / "document_0_Transformer"
    for path in network.iterdir():
        path.rename(folder / path.name)
    network.rmdir()
    settings = json.loads((folder / "router_config.json").read_text(encoding="utf-8").replace(network.name, ""))
    _write(folder / "router_config.json", settings)


def _write_dense(folder: Path, inputs: int, outputs: int, *, residual: bool = False) -> None:
    """A Dense layer as PyLate saves it."""
    folder.mkdir()
    random = weights.generator(folder.name, inputs)
    state = {"linear.weight": torch.randn(outputs, inputs, generator=random) / inputs**0.5}
    if residual:
        state["residual.weight"] = torch.randn(outputs, inputs, generator=random) / inputs**0.5
    save_file(state, folder / "model.safetensors")
    identity = "torch.nn.modules.linear.Identity"
    layer = {"in_features": inputs, "out_features": outputs, "bias": False, "activation_function": identity}
    _write(folder / "config.json", layer | {"use_residual": residual})


def _projection(hidden: int) -> Dense:
    layer = Dense(
        hidden, WIDTH, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"
    )
    layer.linear.weight.data = torch.randn(WIDTH, hidden, generator=weights.generator("projection", 0))
    return layer


def multi_vector(folder: Path, **options: Any) -> None:
    """MultiVectorEncoder of sentence-transformers; queries are expanded to 16 tokens."""
    expansion = {"strategy": "fixed", "attend": False, "length": 16, "token": None}
    network = Transformer(
        str(_encoder(folder / "work")), **({"query_expansion": expansion, "document_length": 40} | options)
    )
    hidden = int(network.get_embedding_dimension() or 0)
    mask = MultiVectorMask(skiplist_words=list(string.punctuation))
    modules = [network, _projection(hidden), mask, Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, prompts=PREFIXES).save_pretrained(str(folder))
    shutil.rmtree(folder / "work")


def attended(folder: Path) -> None:
    """The same, but queries have at least 12 tokens, and attend to those that are appended."""
    expansion = {"strategy": "min", "attend": True, "length": 12, "token": None}
    multi_vector(folder, query_expansion=expansion, query_length=24, document_length=None)


def pylate(folder: Path, repo: str = MODERNBERT, *, residual: bool = False, **own: Any) -> None:
    """PyLate: settings at the top level, and prefixes that are tokens. `residual` adds two layers before the last."""
    _encoder(folder, repo)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(prefix, normalized=True) for prefix in PREFIXES.values()])
    tokenizer.save(str(folder / "tokenizer.json"))
    state = load_file(folder / "model.safetensors")
    name = next(name for name in state if name.endswith(("tok_embeddings.weight", "word_embeddings.weight")))
    size = max(tokenizer.get_vocab_size(), len(state[name]))
    rows = torch.randn(size, state[name].shape[1], generator=weights.generator("prefixes", 0))
    rows[: len(state[name])] = state[name]
    save_file(state | {name: rows}, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder / "config.json", vocab_size=len(rows))
    hidden = rows.shape[1]
    widths = [hidden, 2 * hidden, hidden, WIDTH] if residual else [hidden, WIDTH]
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        _write_dense(folder / f"{index}_Dense", inputs, outputs, residual=outputs != WIDTH)
        modules.append(
            {"idx": index, "name": str(index), "path": f"{index}_Dense", "type": "pylate.models.Dense.Dense"}
        )
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 39, "do_lower_case": False})
    settings: dict[str, Any] = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "model_type": "ColBERT",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 16,
        "document_length": 40,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    _write(folder / "config_sentence_transformers.json", settings | own)


def stanford(folder: Path, repo: str = MINILM) -> None:
    """Stanford's ColBERT: the projection among the weights, and artifact.metadata."""
    _encoder(folder, repo)
    state = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    hidden = next(tensor for name, tensor in state.items() if name.endswith("word_embeddings.weight")).shape[1]
    state["linear.weight"] = _projection(hidden).linear.weight.data
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder / "config.json", architectures=["HF_ColBERT"])
    metadata = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 20,
        "doc_maxlen": 40,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
    }
    _write(folder / "artifact.metadata", metadata)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def modernbert_splade(folder: Path) -> None:
    """SPLADE on another architecture, with sums instead of maxima."""
    splade(folder, partial(_masked_lm, repo=MODERNBERT), pooling="sum")


def late_on(folder: Path) -> None:
    """LateOn: PyLate with residual layers, and queries that are not expanded."""
    pylate(folder, residual=True, do_query_expansion=False)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "masked-lm": masked_lm,
    "splade": splade,
    "splade-modernbert": modernbert_splade,
    "splade-roberta": partial(splade, network=_roberta),
    "inference-free": inference_free,
    "opensearch": opensearch,
    "multi-vector": multi_vector,
    "attended": attended,
    "pylate": pylate,
    "late-on": late_on,
    "stanford": stanford,
    "masked-lm-japanese": partial(masked_lm, repo=JAPANESE),
    "stanford-japanese": partial(stanford, repo=JAPANESE),
}
_CATALOGUE = {
    "prithivida/Splade_PP_en_v2": "masked-lm",
    "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill": "opensearch",
    "opensearch-project/opensearch-neural-sparse-encoding-multilingual-v1": "opensearch",
    "hotchpotch/japanese-splade-v2": "masked-lm-japanese",
    "naver/splade-v3": "splade",
    "naver/splade-cocondenser-ensembledistil": "splade",
    "ibm-granite/granite-embedding-30m-sparse": "splade-roberta",
    "answerdotai/answerai-colbert-small-v1": "stanford",
    "colbert-ir/colbertv2.0": "stanford",
    "answerdotai/JaColBERTv2.5": "stanford-japanese",
    "lightonai/GTE-ModernColBERT-v1": "pylate",
    "lightonai/LateOn": "late-on",
    "lightonai/mLateOn": "late-on",
}


def _build(folder: Path, _seed: int, *, layout: str) -> None:
    LAYOUTS[layout](folder)


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    repo: partial(_build, layout=layout) for repo, layout in _CATALOGUE.items()
}
"""The models of the catalogue."""


def build(name: str, folder: Path) -> Path:
    """Write a repository of this layout into `folder`, which is created if missing; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name](folder)
    return folder


def reference(name: str, folder: Path) -> SparseEncoder | MultiVectorEncoder:
    """The model of sentence-transformers."""
    sparse = name.startswith(("masked-lm", "splade", "inference-free", "opensearch"))
    options: dict[str, Any] = {"device": "cpu", "model_kwargs": {"dtype": torch.float32}}
    return SparseEncoder(str(folder), **options) if sparse else MultiVectorEncoder(str(folder), **options)
