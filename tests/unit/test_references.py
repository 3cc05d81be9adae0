"""What the comparison of the references with our own networks cannot show."""

from __future__ import annotations

import pytest
from numpy.testing import assert_allclose

from tests.references import jina_bert


@pytest.mark.parametrize("slopes", ["reranker", "paper"])
def test_alibi_slopes(slopes: jina_bert.Slopes) -> None:
    exact = [2.0**-place for place in range(1, 9)]
    between = [2.0 ** -(place + (0.5 if slopes == "paper" else 1.5)) for place in range(4)]
    assert_allclose(jina_bert.head_slopes(8, slopes), exact, rtol=1e-12)
    assert_allclose(jina_bert.head_slopes(12, slopes), exact + between, rtol=1e-12)
