"""The hardware limit: multiply-adds as PyTorch counts them, over a matrix product that is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from benchmarks.checkpoints import minilm_folder
from benchmarks.hardware import Widths, figures
from benchmarks.rows import Row


def test_multiply_adds_are_those_that_torch_counts(tmp_path: Path) -> None:
    config = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = BertModel(BertConfig(**config, vocab_size=50), add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.ones(1, 19, dtype=torch.long))
    assert Widths.read(tmp_path).flop(19) == counter.get_total_flops()


def test_the_limit_of_a_row_follows_from_its_tokens() -> None:
    folder = minilm_folder()
    row = Row("any", "embed", 1, (("one two three",), ("one", "two")))
    flop = [Widths.read(folder).flop(tokens) for tokens in (5, 3, 3)]  # two special tokens in each text
    assert figures(row, folder, gflops=2.0) == {
        "p50_ms": pytest.approx(1000 * sum(flop) / 2 / 2e9),
        "items_per_s": pytest.approx(3 * 2e9 / sum(flop)),
    }
