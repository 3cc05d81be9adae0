"""Random weights that are large enough for mistakes in the forward pass to change the output.

With transformers' standard deviation of 0.02, attention is uniform, segments and positions have no effect, and logits
are zero. Here each kind of tensor has a scale that keeps activations near one, attention peaked, and scores of
rerankers between about -3 and 3.
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
"""Gain of the four attention matrices. Queries and keys have normalized inputs, so attention logits have a standard
deviation of 1.6 squared, about 2.5; values and outputs exceed the residual, so `[CLS]` depends on the text."""
EMBEDDING_STD = {"position": 0.5, "token_type": 0.7}
"""Words have 1.0, so that they affect the output more than order and segment."""
LOGIT_STD = 1.5


def generator(name: str, seed: int) -> torch.Generator:
    """A generator for (model, seed), so that models of the same shape differ."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)


def build_model(model_class: type[PreTrainedModel], folder: Path, config: Mapping[str, Any]) -> PreTrainedModel:
    """Write config.json and create the model from it with transformers, in float32, for `fill`."""
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
            parameter.add_(0.1 * noise)  # around the class's values: 1 or 0 for norms, 0 for biases
        elif name in tables:
            kind = next((kind for kind in EMBEDDING_STD if kind in name), None)
            parameter.copy_(noise * (embedding_std if kind is None else EMBEDDING_STD[kind]))
        else:
            gain = ATTENTION_GAIN if "attn" in name or "attention" in name else 1.0
            parameter.copy_(noise * gain / parameter.shape[-1] ** 0.5)


@torch.no_grad()
def spread_logits(model: PreTrainedModel, head: nn.Linear, pairs: Sequence[EncodedPair]) -> None:
    """Scale the head (1, H), so that the scores of these pairs have mean 0 and standard deviation `LOGIT_STD`."""
    head.bias.zero_()
    logits = torch.cat([_score(model, pair) for pair in pairs])
    factor = LOGIT_STD / logits.std()
    head.weight.mul_(factor)
    head.bias.copy_(-logits.mean() * factor)


def _score(model: PreTrainedModel, pair: EncodedPair) -> Tensor:
    """The logit of one pair: (1,), with segments only if the network has more than one."""
    ids = torch.tensor([pair.input_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.tensor([pair.token_type_ids])
    logits: Tensor = model(**inputs).logits
    return logits[0]


@torch.no_grad()
def spread_answers(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[int | None], random: torch.Generator
) -> None:
    """Set the rows of the answer tokens (for, against) so that the scores of these prompts are around zero.

    This is repeated, because the prompts may contain the answers, so that the states depend on these rows.
    """
    assert None not in answers, "the tiny vocabulary must hold each answer as one piece"
    rows = model.get_output_embeddings().weight
    ids = [torch.tensor([prompt]) for prompt in prompts]
    direction = torch.randn(rows.shape[1], generator=random)
    for _ in range(4):
        states = torch.cat([model.model(input_ids=row).last_hidden_state[:, -1] for row in ids])
        mean = states.mean(0)
        difference = direction - mean * (direction @ mean) / (mean @ mean)
        difference *= LOGIT_STD / (states @ difference).std()
        for sign, answer in zip((1, -1), answers, strict=False):
            rows[answer] = sign * difference / len(answers)


def tensors(model: PreTrainedModel, dtype: torch.dtype, *, position_ids: str | None = None) -> dict[str, Tensor]:
    """The tensors as a repository stores them: contiguous, in the stored type, without tied copies.

    `position_ids` names a module whose (1, T) int64 buffer is included, as in transformers before 4.31.
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
    """Write one file with the `format` entry that transformers requires."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(dict(state), folder / name, metadata={"format": "pt"})


def write_pickle(folder: Path, state: Mapping[str, Tensor], name: str = "pytorch_model.bin") -> None:
    """Write a zip pickle with `torch.save`."""
    torch.save(dict(state), folder / name)
