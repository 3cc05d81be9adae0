"""The import rule of DESIGN.md: which room may know of what."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.sources import ROOT, at_import_time, imported, parse_file, source_files

FILES = source_files()
HEAVY = ("torch", "transformers", "safetensors", "sentence_transformers", "tokenizers", "openvino")
MAY_IMPORT_HEAVY = (
    "runners/backends",
    "runners/networks",
    "importing/conversion",
    "importing/int8.py",
    "importing/openvino_export.py",
    "importing/export_child.py",  # through the backend, which it shares names with
)
ABOVE = {"cli", "scripts", "service"}
FORBIDDEN: dict[str, set[str]] = {
    "runners": {"comparison", "api", "batches", "importing", "starlette", *ABOVE},
    "models": {"comparison", "api", "batches", "importing", "runners", "starlette", *ABOVE},
    "importing": {"comparison", "api", "starlette", *ABOVE},
    "batches": {"api", "comparison", "corpus", "importing", "runners", "starlette", "settings", *ABOVE},
    "api": {"comparison", "corpus", "importing", *ABOVE, *HEAVY},
    "comparison": {"api", "corpus", "starlette", *ABOVE},
    # a client of the service: it travels without it
    "corpus": {"comparison", "api", "importing", "models", "runners", "settings", *ABOVE},
}
"""What no function imports either: packages know no HTTP, run nothing, or are below."""
MAY_IMPORT_BENTOML = ("service.py", "engine_process.py", "image.py", "api/bento.py", "models/store.py")

each_file = pytest.mark.parametrize("path", FILES, ids=str)


def below(path: Path, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_scan_sees_the_house() -> None:
    assert {"service.py", "api/bento.py", "models/store.py", "runners/backends/torch.py"} <= set(map(str, FILES))
    assert "torch" in packages(imported(at_import_time(parse_file(Path("runners/backends/torch.py")))))


def heavy_modules() -> set[str]:
    """Modules that import torch or transformers when they are imported, be it through other modules of ours."""
    imports = {
        ".".join(file.with_suffix("").parts).removesuffix(".__init__"): imported(at_import_time(parse_file(file)))
        for file in FILES
    }
    heavy = {"torch", "transformers"}
    while more := {name for name, names in imports.items() if name not in heavy and not names.isdisjoint(heavy)}:
        heavy |= more
    return heavy


def test_modules_that_import_torch_are_not_imported_at_module_level() -> None:
    """Otherwise the rule above could be walked around through a module that may import torch."""
    files = {name.replace(".", "/") for name in heavy_modules() - {"torch", "transformers"}}
    assert {"runners/backends/torch", "importing/conversion"} <= files
    places = tuple(place.removesuffix(".py") for place in MAY_IMPORT_HEAVY)
    assert [file for file in files if not below(Path(file), places)] == []


@each_file
def test_a_package_imports_what_its_place_allows(path: Path) -> None:
    tree = parse_file(path)
    names = packages(imported(ast.walk(tree)))
    for place, forbidden in FORBIDDEN.items():
        if below(path, (place,)):
            assert names.isdisjoint(forbidden)
    if not below(path, MAY_IMPORT_HEAVY):
        assert packages(imported(at_import_time(tree))).isdisjoint(HEAVY)
    if not below(path, MAY_IMPORT_BENTOML):
        assert not [name for name in names if name.startswith(("bentoml", "_bentoml"))]


@each_file
def test_only_settings_read_the_environment(path: Path) -> None:
    if path != Path("settings.py"):
        tree = parse_file(path)
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert (read | imported(ast.walk(tree))).isdisjoint(
            {"environ", "environb", "getenv", "getenvb", "os.environ", "os.getenv"}
        )


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        pytest.param("service", HEAVY, id="the supervisor"),  # imports the service, too
        pytest.param(
            "service, runners.loading, runners.backends.speed", ("torch", "transformers"), id="a worker with OpenVINO"
        ),
        pytest.param("cli.app, cli.models, cli.doctor", HEAVY, id="commands that only look"),
        pytest.param("service, runners.backends.torch", ("sentence_transformers",), id="a worker with torch"),
    ],
)
def test_what_does_not_compute_with_torch_does_not_import_it(
    tmp_path: Path, modules: str, absent: tuple[str, ...]
) -> None:
    """It takes seconds and hundreds of megabytes."""
    code = f"import sys, {modules}; print([name for name in sys.modules if name.split('.')[0] in sys.argv[1:]])"
    environment = {
        "PATH": os.environ["PATH"],
        "BENTOML_HOME": str(tmp_path),
        "BENTOML_DO_NOT_TRACK": "true",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    child = subprocess.run(
        [sys.executable, "-c", code, *absent], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == "[]"
