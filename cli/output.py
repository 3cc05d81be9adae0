"""What commands print: text or JSON on standard output, problems and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def console(*, stderr: bool = False) -> Console:
    """Text with colour on a terminal only; lines are not wrapped, so that other programs can read them."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def say(text: str, event: dict[str, object], *, as_json: bool, style: str = "") -> None:
    """Print one line: text, or an event as JSON."""
    if as_json:
        sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
        sys.stdout.flush()
    else:
        console().print(text, style=style)


def fail(message: object, *, as_json: bool, status: int) -> int:
    """Print what is wrong: on standard error, or as a JSON object on standard output. Returns the exit status."""
    if as_json:
        say("", {"error": str(message)}, as_json=True)
    else:
        console(stderr=True).print(str(message), style="red")
    return status


def note(text: str) -> None:
    """Print a warning, or what to do next, on standard error."""
    console(stderr=True).print(text, style="yellow")


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal with the bytes that are done and the time; it moves also while the total is unknown."""
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.fields[size]}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None, size="")

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, size=f"({done / 1e6:.0f} of {total / 1e6:.0f} MB)")

        yield report
