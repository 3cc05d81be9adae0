"""Recognise what an embedding model returns for a text, and read its heads from the files of its repository.

Layouts: bge-m3 (two heads beside the weights), SparseEncoder and MultiVectorEncoder of sentence-transformers, PyLate,
and Stanford's ColBERT. Masked language models without modules are sparse only if the catalogue or the card says so.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from errors import ModelUnavailableError
from importing.conversion.checkpoint import read_json, rewrite, write_json
from importing.conversion.prefixes import with_prefixes
from models.catalog import ModelSpec, Output
from models.facts import QUERY_TABLE, Expansion, SideRules, SparseHead, TokenHead
from runners.networks.build import SPARSE_LINEAR, VECTORS_LINEAR
from runners.networks.checkpoint import WEIGHTS, tensors

SENTENCE_CONFIG = "config_sentence_transformers.json"
ROUTER_CONFIG = "router_config.json"
STANFORD_CONFIG = "artifact.metadata"
STANFORD = "HF_ColBERT"
"""The architecture in config.json of Stanford's layout."""
PROJECTION = "1_Dense"
"""Folder of the layer to token vectors, for Stanford's layout, which has it among the weights."""
_HEADS = {"sparse_linear.pt": SPARSE_LINEAR, "colbert_linear.pt": VECTORS_LINEAR}
_IGNORED = ("cls_token", "eos_token", "pad_token", "unk_token")
"""Special tokens that FlagEmbedding gives no weight."""
_ACTIVATIONS: dict[str, Literal["log1p", "log1p_log1p"]] = {"relu": "log1p", "log1p_relu": "log1p_log1p"}
_CLASSIC_QUERY_TOKENS = 32
_TOKEN_MODULES = ("Transformer", "Dense", "MultiVectorMask", "Normalize")
_PYLATE_KEYS = ("query_length", "document_length", "query_prefix", "document_prefix", "skiplist_words")


@dataclass(frozen=True)
class Layout:
    """What a repository says about the outputs of its model."""

    outputs: tuple[Output, ...] = ("dense",)
    sparse: SparseHead | None = None
    multi_vector: TokenHead | None = None
    query_rules: SideRules | None = None
    document_rules: SideRules | None = None
    layers: tuple[str, ...] = ()
    """Folders of the layers to token vectors."""


def recognise(source: Path) -> tuple[Output, ...]:
    """The outputs of an embedding model, by the files of its repository."""
    settings = read_json(source / SENTENCE_CONFIG)
    types = [name for names in (_modules(source), _routes(source)) for name in names.values()]
    architectures = read_json(source / "config.json").get("architectures") or []
    late = any(key in settings for key in _PYLATE_KEYS) or any(name.startswith("pylate.") for name in types)
    if late or STANFORD in cast(list[str], architectures) or _ends(types, "MultiVectorMask"):
        return ("multi_vector",)
    if settings.get("model_type") == "SparseEncoder" or _ends(types, "SpladePooling"):
        return ("sparse",)
    sparse: tuple[Output, ...] = ("sparse",) if (source / "sparse_linear.pt").is_file() else ()
    vectors: tuple[Output, ...] = ("multi_vector",) if (source / "colbert_linear.pt").is_file() else ()
    return ("dense", *sparse, *vectors)


def encoder_folder(source: Path) -> Path:
    """The folder with the network: the repository, or that of a module.

    It is a module in a Router of documents and queries, and in some multi-vector models.
    """
    modules = _routes(source) or (_modules(source) if recognise(source) == ("multi_vector",) else {})
    found = [name for name, kind in modules.items() if name and kind.endswith("Transformer")]
    return source / found[0] if found and (source / found[0] / "config.json").is_file() else source


def prefixes(source: Path) -> dict[str, str]:
    """The text before queries and documents of a multi-vector model, by the name of the prompt; empty if none."""
    settings = read_json(source / SENTENCE_CONFIG)
    found = settings.get("prompts")
    prompts = {name: str(text or "") for name, text in found.items()} if isinstance(found, dict) else {}
    for side in ("query", "document"):
        prefix = settings.get(f"{side}_prefix")
        if isinstance(prefix, str):
            prompts[side] = prefix + prompts.get(side, "").removeprefix(prefix)
    if is_stanford(source):
        metadata = read_json(source / STANFORD_CONFIG)
        prompts.setdefault("query", f"{metadata.get('query_token_id') or '[unused0]'} ")
        prompts.setdefault("document", f"{metadata.get('doc_token_id') or '[unused1]'} ")
    return prompts


def convert_stanford(source: Path, target: Path) -> None:
    """Move the projection from the weights into a folder of its own, and name the encoder's architecture."""
    if not is_stanford(source):
        return
    import transformers

    projections = [tensor for name, tensor in tensors(source) if name == "linear.weight"]
    if not projections:
        raise ModelUnavailableError("The checkpoint has no linear.weight, the layer to token vectors.")
    (target / WEIGHTS).unlink()
    rewrite(source, target, lambda name, tensor: {} if name == "linear.weight" else {name: tensor})
    config = read_json(target / "config.json")
    kind = transformers.AutoConfig.from_pretrained(target, trust_remote_code=False)
    write_json(target / "config.json", config | {"architectures": [_encoder_class(kind)]})
    width, hidden = projections[0].shape
    folder = target / PROJECTION
    folder.mkdir()
    save_file({"linear.weight": projections[0].contiguous()}, folder / WEIGHTS)
    identity = "torch.nn.modules.linear.Identity"
    layer: dict[str, object] = {
        "in_features": hidden,
        "out_features": width,
        "bias": False,
        "activation_function": identity,
    }
    write_json(folder / "config.json", layer)


def read_layout(spec: ModelSpec, source: Path, target: Path, *, max_tokens: int, positions: int) -> Layout:
    """The outputs of a converted model and its heads, whose files are written into `target`.

    `max_tokens` is the limit in the tokenizer's files, `positions` that of the network.
    """
    outputs = spec.outputs or recognise(source)
    if outputs == ("sparse",):
        return _sparse(source, target, max_tokens)
    if outputs == ("multi_vector",):
        return _multi_vector(spec, source, target, max_tokens, positions)
    sparse = "sparse" in outputs and _write_head(source, target, "sparse_linear.pt")
    vectors = "multi_vector" in outputs and _write_head(source, target, "colbert_linear.pt")
    return Layout(
        ("dense", *(("sparse",) if sparse else ()), *(("multi_vector",) if vectors else ())),
        SparseHead(kind="linear", ignored_ids=_special_ids(target)) if sparse else None,
        TokenHead(without_first=True) if vectors else None,
    )


def _write_head(source: Path, target: Path, name: str) -> bool:
    """Write a pickled layer as safetensors; False if the repository has none."""
    if not (source / name).is_file():
        return False
    state = torch.load(source / name, map_location="cpu", weights_only=True)
    save_file({key: tensor.float().contiguous() for key, tensor in state.items()}, target / _HEADS[name])
    return True


def _special_ids(target: Path) -> tuple[int, ...]:
    """The ids of the special tokens that have no weight."""
    config = read_json(target / "special_tokens_map.json") | read_json(target / "tokenizer_config.json")
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    found = [_content(config.get(name)) for name in _IGNORED]
    ids = [tokenizer.token_to_id(token) for token in found if token]
    return tuple(sorted(each for each in ids if each is not None))


def _sparse(source: Path, target: Path, max_tokens: int) -> Layout:
    """A masked language model that weighs its vocabulary; queries may be weighed by a table."""
    routes = _routes(source)
    types = {**_modules(source), **routes}
    pooling = next((path for path, kind in types.items() if kind.endswith("SpladePooling")), None)
    known = ("Transformer", "SpladePooling", "Router", "SparseStaticEmbedding", "IDF")
    if any(not kind.endswith(known) for kind in types.values()) or (types and pooling is None):
        raise ModelUnavailableError("Of sparse models, only SPLADE and those with a table for queries are supported.")
    config = read_json(source / pooling / "config.json") if pooling else {}
    activation = str(config.get("activation_function", "relu"))
    strategy = str(config.get("pooling_strategy", "max"))
    if activation not in _ACTIVATIONS or strategy not in ("max", "sum"):
        raise ModelUnavailableError(f"The SPLADE pooling {strategy} of {activation} is not supported.")
    table = next((path for path, kind in routes.items() if kind.endswith(("SparseStaticEmbedding", "IDF"))), None)
    if table is not None:
        np.save(target / QUERY_TABLE, _query_table(source, source / table, target))
    head = SparseHead(
        kind="vocabulary",
        pooling=cast(Literal["max", "sum"], strategy),
        activation=_ACTIVATIONS[activation],
        query_table=table is not None,
    )
    bare = SideRules(max_tokens=max_tokens, bare=True) if table is not None else None
    return Layout(("sparse",), head, query_rules=bare)


def _query_table(source: Path, folder: Path, target: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The weights of all tokens in queries, from the module's weights or from a file of tokens and weights."""
    weights = [tensor for name, tensor in tensors(folder) if name.rpartition(".")[2] == "weight"]
    if weights:
        return weights[0].float().numpy()
    path = next((path for path in (folder / "idf.json", source / "idf.json") if path.is_file()), None)
    if path is None:
        raise ModelUnavailableError("The model weighs queries by a table, which its repository does not contain.")
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    table = np.zeros(tokenizer.get_vocab_size(), dtype=np.float32)
    for token, weight in json.loads(path.read_text(encoding="utf-8")).items():
        if (token_id := tokenizer.token_to_id(token)) is not None:
            table[token_id] = weight
    return table


@dataclass(frozen=True)
class _Reading:
    """How a multi-vector model reads its texts."""

    query_tokens: int | None = None
    document_tokens: int | None = None
    expansion: Mapping[str, Any] | None = None
    skipped: Sequence[str] = ()


def _multi_vector(spec: ModelSpec, source: Path, target: Path, max_tokens: int, positions: int) -> Layout:
    """A model with a vector for each token, in any of the three layouts."""
    reading = _stanford_reading(source) if is_stanford(source) else _module_reading(source)
    layers = _token_layers(source)
    tokens = Tokens(target, prefixes(source) or spec.prompts)
    document_tokens = min(spec.max_tokens or reading.document_tokens or max_tokens, positions)
    head = TokenHead(
        skipped_ids=tokens.ids(reading.skipped),
        prefix_tokens=tokens.prefixes if _has_old_prefixes(source) else (),
    )
    query = SideRules(max_tokens=min(reading.query_tokens or max_tokens, positions))
    if reading.expansion is not None:
        query = tokens.expanded(query, reading.expansion)
    documents = SideRules(max_tokens=document_tokens)
    return Layout(("multi_vector",), None, head, query, documents, layers)


def _token_layers(source: Path) -> tuple[str, ...]:
    """Folders of the layers from states to token vectors; ModelUnavailableError if there are others."""
    modules = _modules(source) or {PROJECTION: "sentence_transformers.Dense"}
    layers = []
    for path, name in modules.items():
        package, _, kind = name.rpartition(".")
        if package.split(".")[0] not in ("sentence_transformers", "pylate") or kind not in _TOKEN_MODULES:
            raise ModelUnavailableError(f"The layer {kind!r} of {package!r} in modules.json is not supported.")
        if kind == "Dense":
            config = read_json(source / path / "config.json")
            if "sentence" in str(config.get("module_input_name", "")):
                raise ModelUnavailableError(f"{path} is not a plain layer from states to token vectors.")
            layers.append(path)
    return tuple(layers)


def _stanford_reading(source: Path) -> _Reading:
    metadata = read_json(source / STANFORD_CONFIG)
    expansion = {
        "strategy": "fixed",
        "attend": bool(metadata.get("attend_to_mask_tokens")),
        "length": metadata.get("query_maxlen") or _CLASSIC_QUERY_TOKENS,
    }
    skipped = string.punctuation if metadata.get("mask_punctuation", True) else ""
    return _Reading(None, _count(metadata.get("doc_maxlen")), expansion, list(skipped))


def _module_reading(source: Path) -> _Reading:
    """By the modules of sentence-transformers, or by PyLate's settings."""
    settings = read_json(source / SENTENCE_CONFIG)
    own = read_json(source / "sentence_bert_config.json")
    masks = [path for path, kind in _modules(source).items() if kind.endswith("MultiVectorMask")]
    if masks:
        mask = read_json(source / masks[0] / "config.json")
        if mask.get("skiplist_tasks") not in (None, ["document"]) or mask.get("keep_only_token_ids"):
            raise ModelUnavailableError("MultiVectorMask is only supported with a list of skipped words for documents.")
        return _Reading(
            _count(own.get("query_length")),
            _count(own.get("document_length")),
            cast("Mapping[str, Any] | None", own.get("query_expansion")),
            cast(list[str], mask.get("skiplist_words") or []),
        )
    length = _count(settings.get("query_length"))
    expansion = settings.get("query_expansion")
    if "query_expansion" not in settings and settings.get("do_query_expansion") is not False:
        attend = settings.get("attend_to_expansion_tokens", settings.get("attend_to_mask_tokens"))
        expansion = {"strategy": "fixed", "attend": bool(attend), "length": length or _CLASSIC_QUERY_TOKENS}
    skipped = settings.get("skiplist_words")
    return _Reading(
        length,
        _count(settings.get("document_length")),
        cast("Mapping[str, Any] | None", expansion),
        list(string.punctuation) if skipped is None else cast(list[str], skipped),
    )


class Tokens:
    """The tokens that a multi-vector model's settings name, by its converted tokenizer."""

    def __init__(self, target: Path, prompts: Mapping[str, str]) -> None:
        self._config = read_json(target / "special_tokens_map.json") | read_json(target / "tokenizer_config.json")
        self._vocabulary, self.prefixes = with_prefixes(target, list(prompts.values()))

    def ids(self, words: Sequence[str]) -> tuple[int, ...]:
        """The ids of the words that are tokens."""
        unknown = self._vocabulary.get(_content(self._config.get("unk_token")) or "")
        found = {self._vocabulary[word] for word in words if word in self._vocabulary}
        return tuple(sorted(found - {unknown}))

    def expanded(self, rules: SideRules, expansion: Mapping[str, Any]) -> SideRules:
        """The rules for queries that are expanded."""
        named = expansion.get("token") or _content(self._config.get("mask_token")) or self._config.get("eos_token")
        token_id = self._vocabulary.get(str(_content(named)))
        if token_id is None:
            raise ModelUnavailableError(f"The tokenizer has no token {named!r}, with which queries are expanded.")
        length, fixed = int(expansion["length"]), expansion["strategy"] == "fixed"
        most = length if fixed else max(length, rules.max_tokens)
        added = Expansion(tokens=length, token_id=token_id, fixed=fixed, attended=bool(expansion.get("attend")))
        return rules.model_copy(update={"max_tokens": most, "expansion": added})


def _has_old_prefixes(source: Path) -> bool:
    """Whether the prefixes were inserted as tokens when the model was trained, so that they are one token each."""
    settings = read_json(source / SENTENCE_CONFIG)
    return is_stanford(source) or "query_prefix" in settings or "document_prefix" in settings


def is_stanford(source: Path) -> bool:
    """Whether a repository has Stanford's layout."""
    if (source / "modules.json").is_file():
        return False
    return STANFORD in cast(list[str], read_json(source / "config.json").get("architectures") or [])


def _encoder_class(config: Any) -> str:
    import transformers

    return str(transformers.AutoModel._model_mapping[type(config)].__name__)


def _modules(source: Path) -> dict[str, str]:
    """Path -> class of the modules in modules.json; empty without that file."""
    path = source / "modules.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return {str(module["path"]): str(module["type"]) for module in content}


def _routes(source: Path) -> dict[str, str]:
    """Path -> class of the modules of a Router; empty without one."""
    types = read_json(source / ROUTER_CONFIG).get("types")
    return {str(name): str(kind) for name, kind in types.items()} if isinstance(types, dict) else {}


def _ends(types: Sequence[str], name: str) -> bool:
    return any(kind.endswith(name) for kind in types)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _content(token: object) -> str | None:
    """The text of a special token, which files give as a text or as an object."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None
