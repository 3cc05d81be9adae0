"""Random weights that mean something: loud enough that a mistake in the forward pass is seen in the output.

transformers initialises with a standard deviation of 0.02, which makes attention uniform, segments and
positions invisible and every logit zero. Here each kind of tensor gets a scale that keeps activations near
one, attention peaked, and the score of a reranker spread over about -3 to 3.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from .layout import write_json
from .tokenizer_files import EncodedPair

ATTENTION_GAIN = 1.6
"""On all four attention matrices. Queries and keys read normed inputs, so attention logits have a standard
deviation of 1.6 squared, about 2.5; values and outputs outweigh the residual, so `[CLS]` sees the text."""
EMBEDDING_STD = {"position": 0.5, "token_type": 0.7}
"""Against 1.0 for words: order and segment move the output, words still decide it."""
LOGIT_STD = 1.5


def generator(name: str, seed: int) -> torch.Generator:
    """Random numbers of their own for each (model, seed): two models of one shape differ."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)


def build_model(model_class: type[PreTrainedModel], folder: Path, config: Mapping[str, Any]) -> PreTrainedModel:
    """Write config.json and make the model from what transformers reads back, in float32, for `fill`."""
    write_json(folder / "config.json", dict(config))
    parsed = AutoConfig.from_pretrained(folder)
    parsed.dtype = torch.float32
    model: PreTrainedModel = model_class(parsed).eval().float()
    return model


@torch.no_grad()
def fill(model: PreTrainedModel, random: torch.Generator, *, embedding_std: float = 1.0) -> None:
    """Draw every parameter of the model, in the order of its names."""
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=random)
        if parameter.ndim == 1:
            parameter.add_(0.1 * noise)  # around what the class starts from: 1 or 0 for norms, 0 for biases
        elif name in tables:
            kind = next((kind for kind in EMBEDDING_STD if kind in name), None)
            parameter.copy_(noise * (embedding_std if kind is None else EMBEDDING_STD[kind]))
        else:
            gain = ATTENTION_GAIN if "attn" in name or "attention" in name else 1.0
            parameter.copy_(noise * gain / parameter.shape[-1] ** 0.5)


@torch.no_grad()
def spread_logits(model: PreTrainedModel, head: nn.Linear, pairs: Sequence[EncodedPair]) -> None:
    """Scale the head, (1, H), so that these pairs score with mean 0 and standard deviation `LOGIT_STD`."""
    head.bias.zero_()
    logits = torch.cat([_score(model, pair) for pair in pairs])
    factor = LOGIT_STD / logits.std()
    head.weight.mul_(factor)
    head.bias.copy_(-logits.mean() * factor)


def _score(model: PreTrainedModel, pair: EncodedPair) -> Tensor:
    """The logit of one pair, (1,); segments only where the network has more than one."""
    ids = torch.tensor([pair.input_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.tensor([pair.token_type_ids])
    logits: Tensor = model(**inputs).logits
    return logits[0]


def tensors(model: PreTrainedModel, dtype: torch.dtype, *, position_ids: str | None = None) -> dict[str, Tensor]:
    """The state as a repository stores it: tied copies left out, contiguous, in the stored type.

    `position_ids` names the module that kept its (1, T) int64 buffer in the file, as transformers
    saved it until 4.30; models of today ignore it.
    """
    tied = set(model.all_tied_weights_keys)
    state = {
        name: value.detach().to(dtype).contiguous() for name, value in model.state_dict().items() if name not in tied
    }
    if position_ids is not None:
        table = state[f"{position_ids}.position_embeddings.weight"]
        state[f"{position_ids}.position_ids"] = torch.arange(len(table)).unsqueeze(0)
    return state


def write_safetensors(folder: Path, state: Mapping[str, Tensor], name: str = "model.safetensors") -> None:
    """One file with the `format` mark that transformers asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(dict(state), folder / name, metadata={"format": "pt"})


def write_pickle(folder: Path, state: Mapping[str, Tensor], name: str = "pytorch_model.bin") -> None:
    """A zip pickle as `torch.save` wrote it."""
    torch.save(dict(state), folder / name)
