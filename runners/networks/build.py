"""Build the torch network of a converted folder; reject checkpoints whose tensors do not match."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import nn

from errors import ModelUnavailableError, UnsupportedModelError
from models.catalog import ModelSpec
from models.facts import ModelFacts
from runners.networks.checkpoint import tensors
from runners.networks.jina_bert import JinaBertForSequenceClassification
from runners.networks.network import Network, split_classifier, split_encoder, split_prompted
from runners.networks.nv_embed import NVEmbedModel
from runners.networks.token_heads import MaskedLanguageHead, TokenHeads

transformers.logging.set_verbosity_error()  # what it would report is checked below
transformers.logging.disable_progress_bar()

OWN_MODULES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "JinaBertForSequenceClassification": JinaBertForSequenceClassification,
    "NVEmbedModel": NVEmbedModel,
}
"""Architecture -> our own module, for checkpoints that transformers cannot read."""

SPARSE_LINEAR, VECTORS_LINEAR = "sparse_linear.safetensors", "colbert_linear.safetensors"
"""Heads beside the weights, as an import writes them."""

_UNUSED = ("pooler.", "cls.", "classifier.", "lm_head.", "position_ids", "entity_predictions.", "entity_embeddings.")
"""Parts of a checkpoint that do not affect an embedder's token vectors and may be missing or unexpected."""
_UNUSED_BY_MASKED_LM = ("pooler.", "cls.seq_relationship.")


def load_network(
    folder: Path, spec: ModelSpec, facts: ModelFacts, dtype: torch.dtype, attention: str | None = None
) -> Network:
    """Load the network of a converted folder; ModelUnavailableError if a tensor is missing, unexpected or mis-shaped.

    The body has type `dtype`, the head always float32. `attention` names a registered attention function; it is used
    if the architecture supports it.
    """
    own = OWN_MODULES.get(facts.architecture)
    # classifiers are small; reading them in float32 keeps the head exact
    read_as = torch.float32 if spec.kind == "reranker" and not (spec.scoring or facts.scoring) else dtype
    try:
        model = _own(folder, spec, own, read_as) if own else _native(folder, spec, facts, read_as, attention)
        network = _split(model, folder, spec, facts)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise UnsupportedModelError(f"{spec.repo} cannot be loaded: {reason}") from error
    network.body.to(dtype)
    if network.token_heads.vocabulary is not None:  # as large as several layers
        network.token_heads.vocabulary.to(dtype)
    return network.requires_grad_(False).eval()


def _split(model: nn.Module, folder: Path, spec: ModelSpec, facts: ModelFacts) -> Network:
    if facts.pooling:
        layers = load_layers(folder, facts.dense) if facts.dense else None
        return split_encoder(model, layers, facts, _linear_heads(folder, facts))
    if facts.sparse is not None:
        head = MaskedLanguageHead(model)
        encoder: Any = model
        return split_encoder(encoder.base_model, None, facts, TokenHeads(vocabulary=head, sparse=facts.sparse))
    if facts.multi_vector is not None:
        vectors = load_layers(folder, facts.dense).float()
        return split_encoder(model, None, facts, TokenHeads(vectors=vectors))
    if scoring := spec.scoring or facts.scoring:
        answers = [scoring.yes] if scoring.no is None else [scoring.yes, scoring.no]
        return split_prompted(model, facts, *_token_ids(folder, *answers))
    return split_classifier(model, facts)


def _linear_heads(folder: Path, facts: ModelFacts) -> TokenHeads:
    """The heads of models with three outputs, in the layout of bge-m3."""
    weights = load_linear(folder / SPARSE_LINEAR) if facts.sparse else None
    vectors = load_linear(folder / VECTORS_LINEAR) if facts.multi_vector else None
    return TokenHeads(weights=weights, vectors=vectors, sparse=facts.sparse)


def load_linear(path: Path) -> nn.Linear:
    """A Linear layer with its weight and bias in one file, in float32."""
    state = load_file(path)
    layer = nn.Linear(state["weight"].shape[1], state["weight"].shape[0], bias="bias" in state)
    layer.load_state_dict(state)
    return layer.float()


class Residual(nn.Module):
    """Layers whose result is added to their input, or to a projection of it: (N, H) -> (N, D)."""

    def __init__(self, layers: nn.Module, projection: torch.Tensor | None) -> None:
        super().__init__()
        self.layers = layers
        self.projection: nn.Module = nn.Identity()
        if projection is not None:
            self.projection = nn.Linear(projection.shape[1], projection.shape[0], bias=False)
            self.projection.load_state_dict({"weight": projection})

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, H) -> (N, D)."""
        total: torch.Tensor = self.layers(rows) + self.projection(rows)
        return total


def load_layers(folder: Path, layers: Iterable[str]) -> nn.Sequential:
    """The sentence-transformers Dense and LayerNorm layers after the pooling: (B, H) -> (B, D)."""
    modules: list[nn.Module] = []
    for layer in layers:
        config = json.loads((folder / layer / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / layer / "model.safetensors")
        modules.append(_layer_norm(config, state) if "dimension" in config else _dense(config, state))
    return nn.Sequential(*modules)


def _layer_norm(config: dict[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    norm = nn.LayerNorm(config["dimension"])
    norm.load_state_dict({name.rpartition(".")[2]: tensor for name, tensor in state.items()})
    return norm


def _dense(config: dict[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    inputs, outputs = config["in_features"], config["out_features"]
    residual = bool(config.get("use_residual"))
    projection = state.pop("residual.weight") if residual and inputs != outputs else None
    linear = nn.Linear(inputs, outputs, bias=config.get("bias", True))
    linear.load_state_dict({name.rpartition(".")[2]: tensor for name, tensor in state.items()})
    activation = _activation(str(config.get("activation_function", "torch.nn.modules.activation.Tanh")))
    layers = nn.Sequential(linear, activation)
    return Residual(layers, projection) if residual else layers


def _native(folder: Path, spec: ModelSpec, facts: ModelFacts, dtype: torch.dtype, attention: str | None) -> nn.Module:
    options: dict[str, Any] = {
        "dtype": dtype,  # by default, transformers 5 uses the file's, half precision even on a CPU
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    if attention is not None and _model_class(folder)._supports_sdpa:
        options["attn_implementation"] = attention
    encoder = bool(facts.pooling or facts.multi_vector)
    auto = transformers.AutoModel if encoder else transformers.AutoModelForSequenceClassification
    if spec.scoring or facts.scoring:
        auto = transformers.AutoModelForCausalLM
    elif facts.sparse and not encoder:
        auto = transformers.AutoModelForMaskedLM
    elif encoder and _takes_pooling_flag(folder):
        options["add_pooling_layer"] = False
    model, info = auto.from_pretrained(folder, **options)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = [str(name[0] if isinstance(name, tuple) else name) for name in info.get(what) or ()]
        unused = _UNUSED if encoder else _UNUSED_BY_MASKED_LM if facts.sparse else ()
        harmless = unused if what != "mismatched_keys" else ()
        _refuse(spec, what, [name for name in names if not any(part in f"{name}." for part in harmless)])
    model.config.use_cache = False  # nothing is generated, so keys and values are not needed
    module: nn.Module = model
    return module


def _own(folder: Path, spec: ModelSpec, build: Callable[[dict[str, Any]], nn.Module], dtype: torch.dtype) -> nn.Module:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        module = build(config)
    expected = module.state_dict()
    found = {name: tensor.to(dtype) for name, tensor in tensors(folder)}
    _refuse(spec, "missing_keys", sorted(expected.keys() - found.keys()))
    _refuse(spec, "unexpected_keys", sorted(found.keys() - expected.keys()))
    _refuse(spec, "mismatched_keys", [name for name in found if found[name].shape != expected[name].shape])
    module.load_state_dict(found, assign=True)
    _materialize_buffers(module)
    return module


def _materialize_buffers(module: nn.Module) -> None:
    """Compute the rotary frequencies, which checkpoints do not store and which are on the meta device."""
    for part in module.modules():
        if any(buffer.is_meta for buffer in part.buffers(recurse=False)):
            config = getattr(part, "config", None)
            part.__init__(config)  # type: ignore[misc]  # recomputes its buffers, outside the meta device


def _refuse(spec: ModelSpec, what: str, names: list[str]) -> None:
    """Reject a checkpoint: a layer that it does not fill would be random, and its results plausible but wrong."""
    names = [name for name in names if not name.endswith("position_ids")]
    if names:
        raise ModelUnavailableError(
            f"{spec.repo} is refused: {len(names)} {what.replace('_', ' ')} ({', '.join(sorted(names)[:5])}). "
            "The checkpoint does not match its architecture, so its results would be wrong."
        )


def _takes_pooling_flag(folder: Path) -> bool:
    """Whether the encoder class can omit its pooler, which is never used."""
    return "add_pooling_layer" in inspect.signature(_model_class(folder).__init__).parameters


def _model_class(folder: Path) -> Any:
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return transformers.AutoModel._model_mapping[type(config)]


def _token_ids(folder: Path, *tokens: str) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [token_id for token in tokens if (token_id := tokenizer.token_to_id(token)) is not None]
    if len(ids) != len(tokens):
        raise ModelUnavailableError(f"The tokenizer does not have {' and '.join(map(repr, tokens))} as single tokens.")
    return ids


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
}


def _activation(name: str) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise UnsupportedModelError(f"The activation {name!r} of a Dense layer is not supported.")
    return _ACTIVATIONS[name]()
