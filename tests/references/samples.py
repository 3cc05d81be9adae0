"""Texts and pairs for all references, in English and Japanese, long and short."""

import torch

QUERY = "Which planet is known as the Red Planet?"
TEXTS = [
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "火星は赤い惑星として知られています。",
    "Jupiter has a prominent red spot.",
    "日本の首都は東京です。The capital of Japan is Tokyo.",
    "x",
]
PAIRS = [(QUERY, text) for text in TEXTS] + [("日本の首都はどこですか", text) for text in TEXTS]
INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "


def padded(rows: list[list[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows of ids as a right-padded batch for transformers."""
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [pad_id] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    }
