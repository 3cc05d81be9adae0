"""The environment of client processes: no network, no keys of the user, and access to the main environment."""

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_MAIN_PYTHON = ROOT / ".venv/bin/python"
TIKTOKEN_NAME = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""tiktoken's file name for cl100k_base: the SHA-1 of its URL."""


def isolate() -> None:
    """Set this process's environment. Call this before importing a client library."""
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "_API_BASE"))]:
        del os.environ[name]
    cache = Path(tempfile.mkdtemp(prefix="rerank-embedding-clients-"))
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    shutil.copy(ROOT / "api/cl100k_base.tiktoken", cache / TIKTOKEN_NAME)
    os.environ |= {
        "NO_PROXY": "127.0.0.1,localhost",
        "TIKTOKEN_CACHE_DIR": str(cache),
        "HF_HOME": str(cache),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def client_python(*, quick: bool) -> Path:
    """The interpreter of .venv-clients-quick or .venv-clients, which scripts/install_clients makes."""
    suffix, option = ("-quick", " --quick") if quick else ("", "")
    python = ROOT / f".venv-clients{suffix}/bin/python"
    assert python.exists(), f"The client libraries are missing: run scripts/install_clients{option}."
    return python


@contextlib.contextmanager
def main_process(module: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module in the main environment; it exits when its stdin is closed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with subprocess.Popen(
        [_MAIN_PYTHON, "-m", module],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
