"""An environment for each application, in a folder that git ignores, and the processes that run in it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from tests.applications.programs.given import Given
from tests.applications.table import NODE, TORCH, Application
from tests.clients.environment import TIKTOKEN_NAME
from tests.serving import ROOT

CACHE = Path(__file__).parent / ".cache"
_INSTALL_S, _RUN_S = 3600, 3600


@contextmanager
def installed(application: Application, *, keep: bool) -> Iterator[Path]:
    """The folder of the application's environment; removed after the block unless `keep`.

    RuntimeError with the end of the installer's output if a package cannot be installed.
    """
    folder = CACHE / application.program
    try:
        _install(application, folder)
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


def _install(application: Application, folder: Path) -> None:
    """Do nothing if the folder has all of it; otherwise start anew."""
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == repr(application):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (_install_npm if application.npm else _install_python)(application, folder)
    stamp.write_text(repr(application), encoding="utf-8")


def _install_python(application: Application, folder: Path) -> None:
    """A virtual environment. uv does not read pip's settings: its folders of wheels are passed on."""
    uv = str(Path(sys.executable).with_name("uv"))
    settings = os.environ | {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    constraints = folder / "constraints.txt"
    constraints.write_text(f"torch=={TORCH}\n", encoding="utf-8")
    _run([uv, "venv", "--allow-existing", "--python", sys.executable, str(folder)], folder, settings)
    packages = [f"{application.package}=={application.version}", *application.packages]
    command = [uv, "pip", "install", "--python", str(folder / "bin/python"), "--constraints", str(constraints)]
    _run([*command, *packages], folder, settings)


def _install_npm(application: Application, folder: Path) -> None:
    """A project with the application, and beside it one with Node.js, so that npm does not remove its headers.

    The packages' own scripts would download browsers and build much that is not needed: only the database is built,
    with the headers of that Node.js.
    """
    node = folder / "node"
    node.mkdir()
    for project in (folder, node):
        (project / "package.json").write_text('{"private": true}', encoding="utf-8")
    npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    _run([*npm, f"node@{NODE}"], node, os.environ)
    headers = next(node.glob("**/include/node/node.h")).parents[2]
    path = f"{node}/node_modules/node/bin:{os.environ['PATH']}"
    settings = os.environ | {"npm_config_nodedir": str(headers), "PATH": path}
    _run([*npm, "--ignore-scripts", f"{application.package}@{application.version}"], folder, settings)
    _run(["npm", "rebuild", "sqlite3"], folder, settings)


def run_program(application: Application, folder: Path, given: Given, proxy: str) -> str:
    """The output of the application's program; RuntimeError with the end of its error output if it fails.

    It gets a home of its own, no keys of the user, and a proxy for all hosts but this one.
    """
    own = {name: value.format_map(asdict(given)) for name, value in application.environment.items()}
    python = Path(sys.executable) if application.npm else folder / "bin/python"
    with tempfile.TemporaryDirectory(prefix="rerank-embedding-applications-") as home:
        shutil.copy(ROOT / "api/cl100k_base.tiktoken", Path(home, TIKTOKEN_NAME))
        environment = {
            "PATH": f"{folder}/node/node_modules/node/bin:{python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": home,
            "TIKTOKEN_CACHE_DIR": home,
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "NODE_USE_ENV_PROXY": "1",
        }
        module = f"tests.applications.programs.{application.program}"
        argument = json.dumps(asdict(replace(given, folder=str(folder))))
        return _run([str(python), "-m", module, argument], Path(home), environment | own, _RUN_S)


def _run(command: list[str], folder: Path, environment: Mapping[str, str], timeout_s: float = _INSTALL_S) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{why} (status {done.returncode} of {' '.join(command[:3])})\n{done.stderr[-4000:]}")
    return done.stdout
