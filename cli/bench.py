"""embeddings bench: the speed of this service and of others, side by side."""

from __future__ import annotations

import datetime
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from benchmarks import machine
from benchmarks.checkpoints import ROOT
from benchmarks.environments import Device
from benchmarks.frontend import BASELINE, CONNECTIONS, Frontend, measure_all
from benchmarks.picture import picture
from benchmarks.report import table
from benchmarks.rows import KEYS
from benchmarks.run import STOPPED, Options, execute
from benchmarks.servers import DEFAULT_GROUPS, GROUPS, OURS
from cli.output import console

FOLDER = ROOT / "benchmarks"


@dataclass(frozen=True)
class Choice:
    """The options of the command line that say what is measured; None: the default."""

    servers: str | None
    rows: str | None
    quick: bool
    all_variants: bool
    repetitions: int | None
    device: Device
    cache: Path | None

    @property
    def options(self) -> Options:
        """The same for a run."""
        return Options(
            groups=_chosen(self.servers, GROUPS, DEFAULT_GROUPS, "--servers"),
            keys=_chosen(self.rows, KEYS, KEYS, "--rows"),
            cache=(self.cache or FOLDER / ".cache").resolve(),
            device=self.device,
            repetitions=self.repetitions or (1 if self.quick else 5),
            window_s=2.0 if self.quick else 6.0,
            mixed_window_s=5.0 if self.quick else 20.0,
            warm_up_s=0.5 if self.quick else 2.0,
            all_variants=self.all_variants,
        )


def _chosen(text: str | None, known: Sequence[str], default: Sequence[str], option: str) -> tuple[str, ...]:
    """The names in `a,b`; BadParameter if one is unknown."""
    names = tuple(name.strip() for name in text.split(",")) if text else tuple(default)
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name} is none of {', '.join(known)}.", param_hint=option)
    return names


def measure(choice: Choice, out: Path | None, svg: Path | None, *, as_json: bool) -> int:
    """Exit status: 0 if our service ran and all results agree, otherwise 1."""
    options = choice.options
    signal.signal(signal.SIGTERM, _exit_on_signal)
    result = execute(options)
    path = out or FOLDER / "results" / _default_name(choice.device, quick=choice.quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console(stderr=True).print(f"Kept in {path}")
    _show(result, svg or path.with_name("latest.svg"), as_json=as_json)
    return 0 if _succeeded(result) else 1


def show_kept(path: Path, svg: Path | None, *, as_json: bool) -> int:
    """Show a kept result again. Exit status: 0."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"{path} is not a kept result ({type(error).__name__}).", param_hint="--report"
        ) from None
    _show(result, svg or path.with_suffix(".svg"), as_json=as_json)
    return 0


def measure_frontend(chosen: Frontend, *, as_json: bool) -> int:
    """Print a table and the figures as JSON, or only these. Exit status: 0."""
    found = measure_all(chosen)
    out = console()
    if not as_json:
        out.print(f"{'connections':<14}" + "".join(f"{name:>28}" for name in found))
        for connections in CONNECTIONS:
            cells = (found[name][connections] for name in found)
            texts = (f"{cell['requests_per_s']:>14.0f}/s {cell['cpu_us']:>8.0f} us" for cell in cells)
            out.print(f"{connections:<14}" + "".join(texts))
    out.print(json.dumps({"machine": machine.facts(), "figures": found}))
    return 0


def frontend_options(
    against: str | None, workers: str, pass_ms: float, repetitions: int, window_s: float, cache: Path | None
) -> Frontend:
    """The options of a measurement; BadParameter if `workers` is not a list of numbers."""
    counts = workers.split(",") if workers else []
    if not all(count.isdigit() for count in counts):
        raise typer.BadParameter("must be numbers, separated by commas", param_hint="--workers")
    place = (cache or FOLDER / ".cache").resolve()
    return Frontend(against or BASELINE, tuple(map(int, counts)), pass_ms / 1000, repetitions, window_s, place)


def _exit_on_signal(*_: object) -> None:
    """Exit through SystemExit, so that all servers are stopped."""
    raise SystemExit(1)


def _default_name(device: Device, *, quick: bool) -> str:
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{date}-{machine.short_name()}{'-cuda' if device == 'cuda' else ''}{'-quick' if quick else ''}.json"


def _show(result: dict[str, Any], svg: Path, *, as_json: bool) -> None:
    svg.write_text(picture(result), encoding="utf-8")
    sys.stdout.write((json.dumps(result) if as_json else table(result)) + "\n")
    console(stderr=True).print(f"Picture: {svg}")


def _succeeded(result: dict[str, Any]) -> bool:
    ours_failed = OURS in result["absent"] or any(error.startswith((OURS, STOPPED)) for error in result["errors"])
    return not ours_failed and all(check["right"] for check in result["checks"])
