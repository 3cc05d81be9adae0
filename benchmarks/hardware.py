"""The limit of the hardware: a model's matrix products, divided by the speed of the fastest measured matrix product.

`python -m benchmarks.hardware PRECISION` measures that product and prints its GFLOP/s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.checkpoints import ROOT
from benchmarks.in_process import MAX_TOKENS
from benchmarks.rows import Row

SIZES = (1024, 2048, 4096)
SECONDS_PER_SIZE = 1.0


@dataclass(frozen=True)
class Widths:
    """Sizes of a BERT encoder."""

    layers: int
    hidden: int
    inner: int

    @classmethod
    def read(cls, folder: Path) -> Widths:
        """Read the sizes of a checkpoint."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    def flop(self, tokens: int) -> int:
        """FLOP of one text: two for each multiply-add in layers and attention; other operations do not count."""
        linear = tokens * (4 * self.hidden**2 + 2 * self.hidden * self.inner)
        attention = 2 * tokens**2 * self.hidden
        return 2 * self.layers * (linear + attention)


def figures(row: Row, folder: Path, gflops: float) -> dict[str, float]:
    """The maximum figures of a row. p50_ms is for a single request."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS[row.kind])
    widths, requests = Widths.read(folder), row.in_process()
    encoded = [tokenizer.encode_batch(request) for request in requests]
    seconds = [sum(widths.flop(len(text.ids)) for text in texts) / (gflops * 1e9) for texts in encoded]
    return {"p50_ms": 1000 * mean(seconds), "items_per_s": sum(map(len, requests)) / sum(seconds)}


def peak(precision: str) -> float:
    """GFLOP/s of the fastest matrix product on all cores, measured in a child process."""
    command = [sys.executable, "-m", "benchmarks.hardware", precision]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def _best_product(precision: str) -> float:
    import torch

    dtype: Any = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    best = 0.0
    for size in SIZES:
        one, other = (torch.rand(size, size).to(dtype) for _ in range(2))
        end = time.perf_counter() + SECONDS_PER_SIZE
        while (start := time.perf_counter()) < end:
            torch.mm(one, other)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


if __name__ == "__main__":
    print(_best_product(sys.argv[1]))
