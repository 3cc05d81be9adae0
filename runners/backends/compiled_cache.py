"""Compiled graphs on disk: OpenVINO loads one in a quarter of the time that compiling it takes (MiniLM: 0.17 s)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import openvino as ov

from models.integrity import MANIFEST, finished_folder, is_whole

Options = Mapping[str, Any]
"""Options of OpenVINO's CPU engine."""


@cache
def processor() -> str:
    """The processor's name, as OpenVINO reports it."""
    return str(ov.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def compile_graph(graph: Path, options: Options) -> Any:
    """Compile the graph of an export, in a thread of its own. RuntimeError if OpenVINO cannot.

    OpenVINO gives the thread that compiles a stack for signal handlers, and unmaps it with the graph, although the
    thread may still use it: where the main thread had compiled, Ctrl+C and SIGTERM could end the process with SIGSEGV
    (OpenVINO 2026.4.1; its pull request 11894 added the stack).
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: ov.Core().compile_model(graph, "CPU", dict(options))).result()


def compile_once(graph: Path, options: Options) -> Any:
    """Load the graph if it was compiled on this processor before, else compile it and keep the result.

    Results lie beside the export, each with a manifest, because a damaged one could compute wrong numbers. In a
    read-only store, nothing is kept.
    """
    export = graph.parent
    kept = export.parent / f"{export.name}-compiled-{_key(graph, options)}"
    if (kept / MANIFEST).is_file() and is_whole(kept):
        return compile_graph(graph, {**options, **_cache_options(kept)})
    if not os.access(export.parent, os.W_OK):
        return compile_graph(graph, options)
    try:
        with finished_folder(kept) as work:
            return compile_graph(graph, {**options, **_cache_options(work)})
    except (OSError, RuntimeError):  # the disk may be full
        return compile_graph(graph, options)


def _cache_options(folder: Path) -> dict[str, str]:
    return {"CACHE_DIR": str(folder), "CACHE_MODE": "OPTIMIZE_SIZE"}  # without the weights, which stay in the export


def _key(graph: Path, options: Options) -> str:
    """A digest of everything that a compiled graph depends on; OpenVINO itself looks for this file at this place."""
    capabilities = sorted(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    parts = (processor(), capabilities, sorted(options.items()), str(graph), graph.stat().st_mtime_ns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
