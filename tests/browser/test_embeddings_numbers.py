"""Computations of the embeddings view, compared with NumPy and independent file readers."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.browser.conftest import Visit
from tests.browser.modules import call

Floats = NDArray[np.float32]

COMPONENTS = """async ({ principalComponents }, { rows, d }) => {
  const found = await principalComponents(Float32Array.from(rows.flat()), rows.length, d);
  return { coordinates: [...found.coordinates], explained: found.explained };
}"""
MATRIX = """async ({ similarities, nearest, cut }, { rows, d, width, k }) => {
  const n = rows.length;
  const vectors = cut(Float32Array.from(rows.flat()), n, d, width);
  const matrix = await similarities(vectors, n, width);
  return { matrix: [...matrix], nearest: [...nearest(matrix, n, k)], vectors: [...vectors] };
}"""
NASTY = [
    "=1+1",
    "＝SUM(A1)",
    " @x",
    "-2+3",
    '=HYPERLINK("http://example.org","x")',
    'a "quoted", text',
    "it's",
    "日本語、テキスト",
    "<b>bold</b>",
]


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("embeddings")


def unit(rows: NDArray[np.float64]) -> Floats:
    normalized: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return normalized


def some(n: int, d: int, seed: int = 0) -> Floats:
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def groups(n: int, d: int) -> Floats:
    random = np.random.default_rng(1)
    return unit(random.normal(size=(5, d))[random.integers(0, 5, n)] + 0.4 * random.normal(size=(n, d)))


CASES = {
    "few": some(5, 384),
    "many": some(300, 96),
    "groups": groups(200, 64),
    "two": some(2, 8),
    "alike": np.ones((6, 16), np.float32),
    "on a line": np.outer(np.arange(5), np.ones(3)).astype(np.float32),
    "a pair, repeated": np.repeat(some(2, 16), 4, axis=0),
}


@pytest.mark.parametrize("name", CASES)
def test_principal_components_equal_numpy(page: Page, name: str) -> None:
    rows = CASES[name].astype(np.float64)
    found = call(page, "pca.js", COMPONENTS, {"rows": rows.tolist(), "d": rows.shape[1]})
    centred = rows - rows.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    shares = lengths**2 / max((lengths**2).sum(), 1e-300)
    directions[lengths < 1e-9] = 0
    two = directions[:2] * np.sign(directions[[0, 1], np.abs(directions[:2]).argmax(axis=1)])[:, None]
    np.testing.assert_allclose(np.reshape(found["coordinates"], (-1, 2)), centred @ two.T, atol=1e-6)
    np.testing.assert_allclose(found["explained"], np.where(lengths[:2] < 1e-9, 0, shares[:2]), atol=1e-9)


def test_equal_eigenvalues_are_both_found(page: Page) -> None:
    """If all directions have equal variance, any two may be shown, but their shares are determined."""
    found = call(page, "pca.js", COMPONENTS, {"rows": np.eye(6).tolist(), "d": 6})
    np.testing.assert_allclose(found["explained"], [0.2, 0.2], atol=1e-9)
    coordinates = np.reshape(found["coordinates"], (-1, 2))
    np.testing.assert_allclose(coordinates.T @ coordinates, np.eye(2), atol=1e-9)


def test_a_single_text_is_at_the_origin(page: Page) -> None:
    found = call(page, "pca.js", COMPONENTS, {"rows": some(1, 8).tolist(), "d": 8})
    assert found == {"coordinates": [0, 0], "explained": [0, 0]}


@pytest.mark.parametrize(("n", "width"), [(1, 16), (2, 16), (7, 5), (50, 16), (50, 1)])
def test_cosines_and_neighbours_equal_numpy(page: Page, n: int, width: int) -> None:
    rows, k = some(n, 16, seed=n), 4
    found = call(page, "neighbours.js", MATRIX, {"rows": rows.tolist(), "d": 16, "width": width, "k": k})
    shorter = unit(rows[:, :width].astype(np.float64))
    np.testing.assert_allclose(np.reshape(found["vectors"], (n, width)), shorter, atol=1e-6)
    expected = shorter.astype(np.float64) @ shorter.astype(np.float64).T
    np.testing.assert_allclose(np.reshape(found["matrix"], (n, n)), expected, atol=1e-6)
    others = np.reshape(found["matrix"], (n, n)) - 9 * np.eye(n)
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(k, n - 1)]
    assert found["nearest"] == order.ravel().tolist()


def test_kept_neighbours_and_rank_changes(page: Page) -> None:
    code = """({ keptShare, rankChanges }) => ({
      kept: keptShare(Int32Array.of(1, 2, 0, 2, 0, 1), Int32Array.of(1, 3, 0, 2, 3, 1), 3),
      changes: rankChanges([1, 0.9, 0.8, 0.7, 0.1], [1, 0.2, 0.8, 0.7, 0.9], 0, 2),
    })"""
    found = call(page, "neighbours.js", code)
    assert found["kept"] == pytest.approx(4 / 6)
    moved = [(each["index"], each["rank"], each["was"], each["dropped"]) for each in found["changes"]]
    assert moved == [(4, 1, 4, False), (2, 2, 2, False), (1, 4, 1, True)]


def test_labels_do_not_overlap_labels_or_points(page: Page) -> None:
    points = (np.random.default_rng(2).normal(size=(500, 2)) * [170, 90] + [500, 280]).clip(5, 555)
    given = {"points": [{"x": x, "y": y} for x, y in points.tolist()], "width": 1000, "height": 560}
    code = """({ placeLabels }, { points, width, height }) => placeLabels({
      points, width, height, radius: 5, lineHeight: 15, measure: (text) => 7 * text.length,
      labels: points.map((_, at) => [String(at + 1), `${at + 1} a longer label`]),
    })"""
    boxes: list[dict[str, Any] | None] = call(page, "label_placement.js", code, given)
    placed = [box for box in boxes if box]
    assert len(placed) > 100
    assert any(" " in box["text"] for box in placed)
    corners = np.array([[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in placed])
    marks = np.concatenate([points - 5, points + 5], axis=1)
    assert corners.min() >= 0
    assert corners[:, 2].max() <= 1000
    for own, box in enumerate(corners):
        for others in (np.delete(corners, own, axis=0), marks):
            meet = (box[:2] < others[:, 2:]).all(axis=1) & (others[:, :2] < box[2:]).all(axis=1)
            assert not meet.any()


def test_files_have_the_exact_numbers(page: Page) -> None:
    vectors = np.concatenate([some(8, 6), np.array([[0, -0.0, 1e-30, 1e20, 0.1, -1.5]], np.float32)])
    texts = [{"text": text, "side": "query"} for text in NASTY]
    code = """({ csvParts, jsonParts }, { vectors, texts }) => {
      const file = { model: "m", texts, vectors: Float32Array.from(vectors.flat()), width: 6 };
      return { csv: [...csvParts(file)].join(""), json: [...jsonParts(file)].join("") };
    }"""
    written = call(page, "downloads.js", code, {"vectors": vectors.tolist(), "texts": texts})
    document = json.loads(written["json"])
    assert [entry["text"] for entry in document["data"]] == NASTY
    assert (document["model"], document["dimensions"], document["data"][3]["input_type"]) == ("m", 6, "query")
    read = np.array([entry["embedding"] for entry in document["data"]], np.float32)
    np.testing.assert_array_equal(read, vectors)
    head, *rows = csv.reader(io.StringIO(written["csv"].removeprefix("\ufeff"), newline=""))
    assert head == ["number", "side", "text", *(f"d{column}" for column in range(6))]
    np.testing.assert_array_equal(np.array([row[3:] for row in rows], np.float32), vectors)
    assert [row[2].removeprefix("'") for row in rows] == NASTY
    assert [row[2].startswith("'") for row in rows] == [True] * 5 + [
        False
    ] * 4  # texts that a spreadsheet would run as formulas


def test_base64_vectors_equal_numpy(page: Page) -> None:
    numbers = some(1, 9)[0]
    code = "({ fromBase64 }, text) => [...fromBase64(text)]"
    read = call(page, "downloads.js", code, base64.b64encode(numbers.astype("<f4").tobytes()).decode())
    np.testing.assert_array_equal(np.array(read, np.float32), numbers)
