"""The environment of a test run, set before anything imports bentoml, prometheus_client or huggingface_hub.

BentoML and Prometheus read their folders once: every run gets its own, and no test reaches the network, the
user's model store or the user's settings.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from settings import Settings

RUN_FOLDER = Path(tempfile.mkdtemp(prefix="rerank-embedding-tests-"))
DEAD_ENDPOINT = "http://127.0.0.1:9"
"""The discard port: nothing listens, connections are refused at once."""

for name in Settings.model_fields:
    os.environ.pop(name.upper(), None)
for folder in ("bentoml", "prometheus", "huggingface"):
    (RUN_FOLDER / folder).mkdir()
os.environ |= {
    "BENTOML_HOME": str(RUN_FOLDER / "bentoml"),
    "PROMETHEUS_MULTIPROC_DIR": str(RUN_FOLDER / "prometheus"),
    "BENTOML_DO_NOT_TRACK": "true",
    "HF_HOME": str(RUN_FOLDER / "huggingface"),
    "HF_ENDPOINT": DEAD_ENDPOINT,
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_PROXY": "127.0.0.1,localhost",
}


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end ends its servers, too: SIGTERM is handled as Ctrl-C is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)
