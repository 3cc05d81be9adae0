"""What the comparison with sentence-transformers computes: no text twice, and hardly any padding."""

from __future__ import annotations

from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from importing.probes import MOST_COMPUTED_TOKENS
from importing.verify import verify
from tests.integration.architectures.workshop import SETTINGS, Workshop


def test_a_long_text_is_computed_once_and_alone(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """bge-m3 has three outputs, and one text of 2,304 tokens among short ones."""
    model = workshop.model("bge-m3")
    shapes: list[tuple[int, int]] = []
    forward = SentenceTransformer.forward

    def recording(self: SentenceTransformer, features: dict[str, Any], **options: Any) -> Any:
        shapes.append(tuple(features["attention_mask"].shape))
        return forward(self, features, **options)

    monkeypatch.setattr(SentenceTransformer, "forward", recording)
    found = verify(model.spec, model.stored, SETTINGS)
    assert [shape for shape in shapes if shape[1] > 512] == [(1, MOST_COMPUTED_TOKENS)]
    assert found.texts / 2 < sum(texts for texts, _ in shapes) < found.texts  # of some, only the tokens are compared
