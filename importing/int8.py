"""Store the weights of an exported network in 8 bits, and measure what that costs in accuracy (docs/int8.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import opset13 as ops

from models.catalog import ModelSpec
from models.store import StoredModel
from runners.backends.accuracy import cosines
from runners.contracts import Rows, TokenSequence
from runners.text.tokenization import load_tokenizer

QUERIES = (
    "How do I keep bread from going stale?",
    "effects of sleep on memory",
    "日本の鉄道の歴史",
    "sort a list of dictionaries by a key in Python",
)
SENTENCES = (
    "Store a loaf in a paper bag at room temperature, or freeze it in slices on the day it is baked.",
    "Bread becomes stale because its starch crystallises again, and a refrigerator speeds this up.",
    "A sourdough starter needs flour and water every day.",
    "Sleep after learning strengthens memories, and deep sleep matters most for facts and events.",
    "People who slept six hours a night for two weeks reacted as slowly as after two nights without sleep.",
    "The hippocampus replays the patterns of the day while the brain is at rest.",
    "Coffee contains caffeine, which blocks adenosine receptors.",
    "日本で最初の鉄道は1872年に新橋と横浜の間で開業した。",
    "新幹線は1964年の東京オリンピックに合わせて東海道で営業を始めた。",
    "京都の寺院には、春の桜と秋の紅葉を見るために多くの観光客が訪れる。",
    "味噌汁は、だしに味噌を溶き、豆腐やわかめを加えて作る。",
    "Use sorted(rows, key=lambda row: row['price']) to order dictionaries by price.",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "SELECT name, COUNT(*) FROM orders GROUP BY name ORDER BY 2 DESC;",
    "A hash table finds a value by its key in constant time on average.",
    "Der Rhein fließt von den Alpen durch sechs Länder bis in die Nordsee.",
    "La biblioteca abre de lunes a viernes, de nueve a seis.",
    "The invoice of 3 March for 1,250.00 EUR is due within 30 days.",
    "Refunds take five to ten working days, depending on the bank.",
    "Mars has two small moons, Phobos and Deimos.",
    "The vaccine trains the immune system to recognise a protein on the surface of the virus.",
    "Interest rates rose by a quarter of a point, and the index fell by two percent.",
    "The river flooded the valley in spring and left a layer of fertile soil.",
    "Yes.",
)
_JOINED = 6
"""Sentences of each long passage."""
PASSAGES = SENTENCES + tuple(
    " ".join(SENTENCES[start : start + _JOINED]) for start in range(0, len(SENTENCES), _JOINED // 2)
)

MIN_COSINE = 0.99
MIN_TAU = 0.9
MIN_OVERLAP = 0.9
_TOP = 10


def compress(model: Any) -> int:
    """Replace the weights of linear layers by 8-bit integers with one scale for each output; the number of layers.

    Embedding tables stay: they are looked up and not multiplied, so they would lose accuracy and gain no speed.
    """
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"]
    return sum(map(_compress_layer, layers))


def _compress_layer(layer: Any) -> bool:
    """False where its second factor is no constant matrix: the product of attention."""
    constant = layer.input_value(1).get_node()
    if constant.get_type_name() != "Constant" or len(constant.get_output_shape(0)) != 2:
        return False
    weights = constant.get_data().astype(np.float32)
    inputs = 1 if layer.get_attributes()["transpose_b"] else 0
    scale = (np.abs(weights).max(axis=inputs, keepdims=True) / 127).astype(np.float16)
    scale = np.maximum(scale, np.finfo(np.float16).smallest_subnormal)
    integers = np.rint(weights / scale).clip(-127, 127).astype(np.int8)
    product = ops.multiply(ops.convert(ops.constant(integers), "f16"), ops.constant(scale))
    layer.input(1).replace_source_output(ops.convert(product, "f32").output(0))
    return True


def sample(spec: ModelSpec, stored: StoredModel) -> list[TokenSequence]:
    """Sequences of the fixed texts: the passages for an embedder, each query with each passage for a reranker."""
    longest = max(len(text.encode()) for text in PASSAGES)
    tokenizer = load_tokenizer(stored.folder, spec, stored.facts, longest)
    if stored.facts.dimensions is not None:
        return tokenizer.encode_texts(QUERIES + PASSAGES)[0]
    return [
        sequence for query in QUERIES for sequence in tokenizer.encode_pairs(query, PASSAGES, spec.instruction or "")[0]
    ]


@dataclass(frozen=True)
class Cost:
    """Accuracy against float32: named figures, with the least that each may be (0: any)."""

    figures: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.4f}" for name, (value, _) in self.figures.items())

    @property
    def refusal(self) -> str | None:
        """The figures and the limits that they miss; None where they miss none."""
        missed = [f"{name} {least:g}" for name, (value, least) in self.figures.items() if not value >= least]
        return f"int8 changes its results too much: {self} (at least: {', '.join(missed)})" if missed else None


def cost(expected: Rows, found: Rows) -> Cost:
    """Of rows (N, D) of the sample in int8 against those in float32. Logits (N, 1) are compared by their rankings."""
    if expected.shape[1] > 1:
        similar = cosines(expected.astype(np.float64), found.astype(np.float64))
        return Cost({"lowest cosine": (float(similar.min()), MIN_COSINE), "mean cosine": (float(similar.mean()), 0)})
    rankings = list(zip(expected.reshape(len(QUERIES), -1), found.reshape(len(QUERIES), -1), strict=True))
    tau = float(np.mean([kendall_tau(one, other) for one, other in rankings]))
    overlap = float(np.mean([_top_overlap(one, other) for one, other in rankings]))
    return Cost({"Kendall's tau": (tau, MIN_TAU), "top-10 overlap": (overlap, MIN_OVERLAP)})


def kendall_tau(one: Rows, other: Rows) -> float:
    """Agreement of the orders of two lists of scores without ties, from -1 to 1."""
    pairs = np.triu_indices(len(one), 1)
    agreeing = np.sign(np.subtract.outer(one, one)[pairs] * np.subtract.outer(other, other)[pairs])
    return float(agreeing.mean())


def _top_overlap(one: Rows, other: Rows) -> float:
    return len(set(np.argsort(-one)[:_TOP]) & set(np.argsort(-other)[:_TOP])) / _TOP
