"""A whole run: prepare, start, check, measure in turns, stop."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from benchmarks import checkpoints, checks, environments, hardware, machine, measure, outputs, rows, workload
from benchmarks.checkpoints import ROOT
from benchmarks.checks import Answers
from benchmarks.client import Group
from benchmarks.environments import Device, InstallError
from benchmarks.in_process import InProcess
from benchmarks.libraries import FLAG_EMBEDDING, MODELS, Library
from benchmarks.measure import Figures, MeasurementError
from benchmarks.outputs import OUTPUT_KEYS, OUTPUT_ROWS, OUTPUTS, PROBES, OutputRow
from benchmarks.processes import First, Running, StartError, start
from benchmarks.rows import COLD_START, MANY, MANY_MODELS, MEMORY, MIXED, PAIR, PAIR_KEYS, ROWS, Row
from benchmarks.servers import HARDWARE, IN_PROCESS, INT8, LIBRARIES, SERVERS, VLLM, Place, Server

STOPPED = "the run was stopped before its end"
_PREFIX = re.compile(r"(/[\w.+-]+)+/lib/python[\d.]+/")


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    groups: tuple[str, ...]
    keys: tuple[str, ...]
    cache: Path
    device: Device
    repetitions: int
    window_s: float
    mixed_window_s: float
    warm_up_s: float
    all_variants: bool


@dataclass
class Results:
    """The results to save: samples[server][row] has the figures of each repetition."""

    samples: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    servers: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, server: str, row: str, figures: Figures) -> None:
        """Add the figures of one repetition."""
        self.samples.setdefault(server, {}).setdefault(row, []).append(figures)


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def execute(options: Options) -> dict[str, Any]:
    """Run the benchmark and return the results to save."""
    facts, results, generator = machine.facts(), Results(), Figures()
    options.cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=options.cache))
    try:
        say("Making the models ...")
        chosen = set(options.keys)
        wanted: tuple[str, ...] = PAIR if chosen.intersection(PAIR_KEYS) else ()
        wanted += MANY if MANY_MODELS in chosen else ()
        wanted += outputs.models_of(chosen)
        made = checkpoints.ready(options.cache / "checkpoints", wanted)
        place = Place(options.cache, scratch, made, options.device)
        generator = measure.generator_cost(place.log("trivial"), max(1.0, options.window_s / 4))
        say(f"Load generator against a server that does nothing: {generator}")
        servers = list(_prepared(options, place, results))
        if chosen.intersection(PAIR_KEYS):
            _with_pair(options, place, servers, results)
        if MANY_MODELS in options.keys:
            _with_many(options, place, [server for server in servers if server.many_models], results)
        if chosen.intersection(OUTPUT_KEYS):
            _with_outputs(options, place, [server for server in servers if server.api], results)
    except (KeyboardInterrupt, SystemExit):
        results.errors.append(STOPPED)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    kept = {
        "machine": facts,
        "options": {
            "device": options.device,
            "repetitions": options.repetitions,
            "window_s": options.window_s,
            "mixed_window_s": options.mixed_window_s,
        },
        "generator": generator,
        **vars(results),
    }
    return cast(dict[str, Any], without_paths(kept, {str(options.cache): "CACHE", str(ROOT): "ROOT"}))


def without_paths(value: object, places: dict[str, str]) -> object:
    """The same value with names instead of this machine's paths, because results are published."""
    if isinstance(value, str):
        for path, word in places.items():
            value = value.replace(path, word)
        return _PREFIX.sub("PYTHON/", value)
    if isinstance(value, dict):
        return {key: without_paths(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner, places) for inner in value]
    return value


def _prepared(options: Options, place: Place, results: Results) -> Iterator[Server]:
    for server in SERVERS:
        if server.group not in options.groups:
            continue
        if server.name in (VLLM, INT8) and options.device != "cpu":
            results.absent[server.name] = "not run on a GPU"
            continue
        emulated = server.wants_bfloat16 and options.device == "cpu" and not machine.has_native_bfloat16()
        if emulated and not options.all_variants:
            results.absent[server.name] = (
                "this processor emulates bfloat16, several times slower (--all-variants runs it)"
            )
            continue
        say(f"Preparing {server.name} ...")
        try:
            version = server.prepare(place)
        except InstallError as error:
            results.absent[server.name] = str(error)
            say(f"  {error}")
        else:
            results.servers[server.name] = {"version": version, "settings": server.settings}
            yield server


def _asked(api: str, model: str) -> tuple[outputs.Output, ...]:
    """The outputs of a model that a server computes in one request."""
    if api != VLLM:
        return PROBES[model]
    return next(wanted for name, wanted in outputs.VLLM_TASKS if name == model)


def _first_requests(ports: dict[str, int], models: tuple[str, ...], api: str) -> list[First]:
    """One request for each model, to wait for the start."""
    query, *documents = workload.short_texts(3, seed=9)
    if set(models) <= set(OUTPUTS):
        asked = [outputs.request(api, ports[model], model, _asked(api, model), [query]) for model in models]
        return [First(each.port, each.path, each.body.encode()) for each in asked]
    bodies = {
        model: (rows.RERANK, workload.rerank_body(query, documents, model))
        if model == workload.RERANKER
        else (rows.EMBEDDINGS, workload.embeddings_body([query], model))
        for model in models
    }
    return [First(ports[model], *bodies[model]) for model in models]


def _start(server: Server, place: Place, models: tuple[str, ...]) -> Running:
    commands = server.commands(place, models)
    ports = {model: command.port for command in commands for model in command.models}
    log = place.log(server.name)
    first = _first_requests(ports, models, server.api or "")
    running = start(commands, first, log, timeout_s=server.start_timeout_s)
    running.api = server.api or ""
    return running


@contextmanager
def _started(
    servers: list[Server], place: Place, models: tuple[str, ...], results: Results, starts: int
) -> Iterator[dict[str, Running]]:
    """Start each server `starts` times; the last one runs until the block ends."""
    with ExitStack() as stack:
        running: dict[str, Running] = {}
        for server in servers:
            try:
                for number in range(max(starts, 1)):
                    one = _start(server, place, models)
                    say(f"  {server.name} answers after {one.start_s:.1f} s")
                    if starts:
                        results.add(server.name, COLD_START, {"start_s": one.start_s})
                    if number < starts - 1:
                        one.stop()
                    else:
                        running[server.name] = one
                        stack.callback(one.stop)
            except StartError as error:
                results.absent[server.name] = f"does not start here: {error}"
                say(f"  {server.name} does not start here: {error}")
        yield running


def _with_pair(options: Options, place: Place, servers: list[Server], results: Results) -> None:
    """Run the rows with one embedder and one reranker."""
    starts = options.repetitions if COLD_START in options.keys else 0
    with _started(servers, place, PAIR, results, starts) as running, ExitStack() as stack:
        if MEMORY in options.keys:
            time.sleep(2)  # until memory of the start has been released
        rest = {name: one.resident_mb() for name, one in running.items()}
        model = _in_process(place, results) if "in-process" in options.groups else None
        if model is not None:
            stack.callback(model.stop)
        _check(running, model, results)
        if place.device == "cpu":
            _hardware(options, place, results)
        for row in (row for row in ROWS if row.key in options.keys):
            _row(options, row, running, model, results)
        if MIXED in options.keys:
            spans = (options.mixed_window_s, options.warm_up_s)
            _turns(options, MIXED, running, results, lambda server: measure.measure_mixed(server, *spans))
        if MEMORY in options.keys:
            for name, one in running.items():
                results.add(name, MEMORY, {"rest_mb": rest[name], "peak_mb": one.peak_mb()})


def _in_process(place: Place, results: Results) -> InProcess | None:
    if place.device != "cpu":
        results.absent[IN_PROCESS] = "OpenVINO runs on the CPU"
        return None
    folders = place.checkpoints.folders
    try:
        model = InProcess.start(folders[workload.EMBEDDER], folders[workload.RERANKER], place.log("in-process"))
    except RuntimeError as error:
        results.absent[IN_PROCESS] = f"does not start here: {error}"
        say(f"  {IN_PROCESS} {results.absent[IN_PROCESS]}")
        return None
    settings = f"OpenVINO {model.facts['precision']} in one process, no server"
    results.servers[IN_PROCESS] = {"version": model.facts["version"], "settings": settings}
    return model


def _hardware(options: Options, place: Place, results: Results) -> None:
    """Compute the rows' maximum from the fastest matrix product in our precision."""
    precision = machine.precision()
    gflops = hardware.peak(precision)
    settings = f"{gflops:.0f} GFLOP/s, the fastest matrix product of PyTorch in {precision}"
    results.servers[HARDWARE] = {"version": precision, "settings": settings}
    for row in (row for row in ROWS if row.key in options.keys):
        folder = place.checkpoints.folders[workload.EMBEDDER if row.kind == "embed" else workload.RERANKER]
        results.add(HARDWARE, row.key, hardware.figures(row, folder, gflops))


def _check(running: dict[str, Running], model: InProcess | None, results: Results) -> None:
    answers: dict[str, Answers] = {}
    for name, one in running.items():
        try:
            answers[name] = checks.ask(one)
        except (MeasurementError, KeyError, OSError) as error:
            results.errors.append(f"{name}, probe: {error}")
    if model is not None:
        answers[IN_PROCESS] = checks.ask_in_process(model)
    if not answers:
        return
    first, *others = answers
    for name in others:
        results.checks.append(checks.compare(name, answers[name], first, answers[first]))
        say(f"  {results.checks[-1]}")


def _row(options: Options, row: Row, running: dict[str, Running], model: InProcess | None, results: Results) -> None:
    def between() -> None:
        if model is not None:
            found = model.ask(row.kind, row.in_process(), merge=row.connections, window_s=options.window_s)
            results.add(IN_PROCESS, row.key, found)

    if model is not None:
        model.ask(row.kind, row.in_process(), merge=row.connections, window_s=options.warm_up_s)

    _turns(options, row.key, running, results, _measurement(options, row.group), between)


def _measurement(options: Options, group: Callable[[Running], Group]) -> Callable[[Running], Figures]:
    """A function that measures one group of connections to a server."""
    return lambda server: measure.measure_group(server, group(server), options.window_s, options.warm_up_s)


def _turns(
    options: Options,
    key: str,
    running: dict[str, Running],
    results: Results,
    one: Callable[[Running], Figures],
    between: Callable[[], None] = lambda: None,
) -> None:
    """Measure the servers in turns (A B C, A B C), so that machine speed affects all; skip a server after a failure."""
    say(f"{key} ...")
    failed: set[str] = set()
    for _ in range(options.repetitions):
        for name, server in running.items():
            if name in failed:
                continue
            try:
                results.add(name, key, one(server))
            except MeasurementError as error:
                failed.add(name)
                results.errors.append(f"{name}, {key}: {error}")
                say(f"  {name}: {error}")
        between()


def _with_many(options: Options, place: Place, servers: list[Server], results: Results) -> None:
    one = _measurement(options, lambda server: rows.many_models(server.ports))
    with _started(servers, place, MANY, results, 0) as running:
        _turns(options, MANY_MODELS, running, results, one)


def _with_outputs(options: Options, place: Place, servers: list[Server], results: Results) -> None:
    """Run the rows for sparse vectors and token vectors."""
    models = outputs.models_of(options.keys)
    with _started(servers, place, models, results, 0) as running, ExitStack() as stack:
        libraries = dict(_libraries(options, place, models, results))
        for server in running.values():
            server.settle()
        for library in libraries.values():
            stack.callback(library.stop)
        _check_outputs(models, running, libraries, results)
        for row in (row for row in OUTPUT_ROWS if row.key in options.keys):
            _output_row(options, row, running, libraries, results)


def _libraries(
    options: Options, place: Place, models: tuple[str, ...], results: Results
) -> Iterator[tuple[str, Library]]:
    """The libraries in process, each in float32 and, where the processor has it, in bfloat16."""
    if LIBRARIES not in options.groups or place.device != "cpu":
        return
    for library, known in MODELS.items():
        folders = [place.checkpoints.folders[model] for model in known if model in models]
        if not folders:
            continue
        for dtype in ("float32", "bfloat16") if machine.has_native_bfloat16() else ("float32",):
            name = f"{library} {dtype}"
            log = place.log(name)
            try:
                python = Path(sys.executable)
                if library == FLAG_EMBEDDING:
                    python = environments.ready(environments.FLAG_EMBEDDING, place.cache, place.device, log)
                found = Library.start(library, dtype, python, folders, log)
            except (InstallError, RuntimeError) as error:
                results.absent[name] = f"does not start here: {error}"
                say(f"  {name} {results.absent[name]}")
                continue
            results.servers[name] = {"version": found.version, "settings": f"{dtype}, in one process, no server"}
            yield name, found


def _check_outputs(
    models: tuple[str, ...], running: dict[str, Running], libraries: dict[str, Library], results: Results
) -> None:
    """Compare the outputs of each model with those of the first server."""
    for model in models:
        found: dict[str, outputs.Answer] = {}
        for name, server in running.items():
            try:
                found[name] = checks.ask_outputs(server, model, _asked(server.api, model))
            except (MeasurementError, KeyError, OSError) as error:
                results.errors.append(f"{name}, probe: {error}")
        found |= {
            name: library.answer(model, checks.OUTPUT_TEXTS)
            for name, library in libraries.items()
            if library.computes(model)
        }
        first, *others = found
        for name in others:
            results.checks.append(checks.compare_outputs(name, model, found[name], first, found[first]))
            say(f"  {results.checks[-1]}")


def _output_row(
    options: Options, row: OutputRow, running: dict[str, Running], libraries: dict[str, Library], results: Results
) -> None:
    def between() -> None:
        for name, library in libraries.items():
            if library.computes(row.model):
                results.add(name, row.key, library.measure(row, options.window_s))

    able = {name: server for name, server in running.items() if row.runs_on(server)}
    _turns(options, row.key, able, results, _measurement(options, row.group), between)
