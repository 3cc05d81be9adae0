"""The project's source files as syntax trees, for the tests that read code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (
    "service.py",
    "bundle.py",
    "image.py",
    "settings.py",
    "errors.py",
    "metrics.py",
    "metrics_batched.py",
    "metrics_files.py",
    "startup.py",
    "engine_process.py",
    "in_process.py",
    "api",
    "batches",
    "cli",
    "cluster",
    "comparison",
    "corpus",
    "importing",
    "models",
    "runners",
    "scripts",
)


def source_files() -> list[Path]:
    """Every Python file of the service, relative to the root."""
    files: list[Path] = []
    for place in PLACES:
        path = ROOT / place
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [path.relative_to(ROOT) for path in files]


def parse_file(path: Path) -> ast.Module:
    """The syntax tree of a file named relative to the root."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Dotted names that the statements among these nodes import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: all but what stands inside functions."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import_time(child)
