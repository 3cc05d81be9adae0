"""The environment of a test run, set before bentoml, prometheus_client or huggingface_hub is imported.

BentoML and Prometheus read their folders once, so each run has its own. Tests cannot use the network, the user's model
store or the user's settings.

The tests must pass on every processor. These variables simulate other processors:

    TEST_DTYPE=auto                  DTYPE of all models under test (default float32; auto uses bfloat16 if supported)
    TEST_CPU_THREADS=4               threads of all models under test (default 1)
    ONEDNN_MAX_CPU_ISA=AVX2          largest instruction set of oneDNN, in torch and in OpenVINO (AVX512_CORE, ...)
    ATEN_CPU_CAPABILITY=default      largest instruction set of torch's own kernels (default, avx2, avx512)

Expected differences come from tests/tolerance.py. One more variable is for tests/image:

    TEST_IMAGE_PLATFORM=cuda         the image to build and run (default cpu); without a GPU, its service uses the CPU
"""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from settings import Settings
from tests.scheduling import SharedServers, turn
from tests.serving import DEAD_ENDPOINT, import_models
from tests.variant import DTYPE, THREADS

RUN_FOLDER = Path(tempfile.mkdtemp(prefix="rerank-embedding-tests-"))
MODEL = "all-minilm-l6-v2"
"""The model with real weights, from its Python package."""

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
    """Handle SIGTERM like Ctrl-C, so that the servers are stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.disable()  # until the tests are collected: hardly any object of the libraries is garbage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those first for which others would wait."""
    items.sort(key=lambda item: turn(item.nodeid))


def pytest_collection_finish() -> None:
    """Freeze the objects of the libraries: closing a model runs the garbage collector, which is then far faster."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedServers:
    """Choose pytest-xdist's scheduler."""
    return SharedServers(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Print how a process died: a negative status is a signal."""
    if error:
        sys.stdout.write(f"\n{node.gateway.id} ended with status {node.gateway._io.popen.wait(60)}\n")


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Leave a test whose process died to scripts/test, which runs it again in a process of its own."""
    sys.stdout.write(f"its test was {crashitem}\n")
    if list_of_crashed := os.environ.get("CRASHED_TESTS"):
        with Path(list_of_crashed).open("a", encoding="utf-8") as file:
            file.write(f"{crashitem}\n")
        report.outcome, report.longrepr = "skipped", (crashitem, 0, "Skipped: its process died; it runs again")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folders of the run."""
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A read-only folder that `make` fills once per run, shared by all processes."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with the real model, converted for the servers' DTYPE; each server uses a copy."""
    return made_once(tmp_path_factory, "imported", lambda home: import_models(home, MODEL, DEVICE="cpu", DTYPE=DTYPE))
