"""The environment of a test run, set before anything imports bentoml, prometheus_client or huggingface_hub.

BentoML and Prometheus read their folders once: every run gets its own, and no test reaches the network, the
user's model store or the user's settings.

The tests must pass on every processor. One processor stands for others by these variables, alone or together:

    TEST_DTYPE=auto                  DTYPE of all models under test (default float32; auto takes bfloat16 where it can)
    TEST_CPU_THREADS=4               threads of all models under test (default 1)
    ONEDNN_MAX_CPU_ISA=AVX2          largest instruction set of oneDNN, in torch and in OpenVINO (AVX512_CORE, ...)
    ATEN_CPU_CAPABILITY=default      largest instruction set of torch's own kernels (default, avx2, avx512)

Expected differences come from tests/tolerance.py.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from settings import Settings
from tests.serving import DEAD_ENDPOINT, ROOT, child_environment
from tests.variant import DTYPE, THREADS

RUN_FOLDER = Path(tempfile.mkdtemp(prefix="rerank-embedding-tests-"))
MODEL = "all-minilm-l6-v2"
"""The model with real weights, from its Python package."""

SHARED: dict[str, tuple[str, ...]] = {
    "the playground's": ("tests/browser/",),
    "served": tuple(
        f"tests/e2e/test_{name}.py"
        for name in (
            "bad_input",
            "bentoml_client",
            "captured_requests",
            "curl",
            "fuzz",
            "hostile",
            "import_on_demand",
            "openapi",
            "real_weights",
            "soak",
        )
    ),
}
"""A server that several files use -> their paths, or what these begin with."""

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
    "OMP_NUM_THREADS": str(THREADS),
}


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end ends its servers, too: SIGTERM is handled as Ctrl-C is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class SharedServers(LoadFileScheduling):
    """The tests of one file in one process, and with them those of the files that use the same server.

    Starting one takes more time than most of its tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((shared for shared, files in SHARED.items() if file.startswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedServers:
    """How pytest-xdist spreads the tests."""
    return SharedServers(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills once a run, however many processes the run has. Nobody writes to it afterwards."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
            make(unfinished)
            unfinished.rename(folder)
    return folder


def import_models(home: Path, *names: str, **settings: str) -> None:
    """Bring models into the store of a BENTOML_HOME."""
    command = [sys.executable, "-m", "scripts.import_models", "--model", *names]
    environment = child_environment(home, settings)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with the real model in its store; servers get copies of it.

    Converted for the DTYPE that they run with: else each of them would convert it when it starts.
    """
    return made_once(tmp_path_factory, "imported", lambda home: import_models(home, MODEL, DEVICE="cpu", DTYPE=DTYPE))
