"""Measure this service side by side with others, and show a kept result again."""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.checkpoints import ROOT
from benchmarks.environments import Device
from benchmarks.picture import picture
from benchmarks.report import table
from benchmarks.rows import KEYS
from benchmarks.run import STOPPED, Options, execute
from benchmarks.servers import DEFAULT_GROUPS, GROUPS, OURS

FOLDER = ROOT / "benchmarks"
EXAMPLES = f"""examples:
  scripts/bench                                   every row of all servers but int8: about an hour
  scripts/bench --quick                           the same with one short measurement each
  scripts/bench --quick --servers ours infinity --rows single_1 rerank_20_1
  scripts/bench --report benchmarks/results/FILE.json
rows: {" ".join(KEYS)}
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 if our service ran and all results agree, otherwise 1."""
    options = _parser().parse_args(arguments)
    if options.report:
        result = json.loads(options.report.read_text(encoding="utf-8"))
        _show(result, options.picture or options.report.with_suffix(".svg"))
        return 0
    signal.signal(signal.SIGTERM, _exit_on_signal)
    result = execute(_options(options))
    path = options.out or FOLDER / "results" / _default_name(options.device, quick=options.quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"Kept in {path}", file=sys.stderr)
    _show(result, options.picture or path.with_name("latest.svg"))
    return 0 if _succeeded(result) else 1


def _exit_on_signal(*_: object) -> None:
    """Exit through SystemExit, so that all servers are stopped."""
    raise SystemExit(1)


def _options(options: argparse.Namespace) -> Options:
    quick = options.quick
    return Options(
        groups=tuple(options.servers),
        keys=tuple(options.rows),
        cache=options.cache.resolve(),
        device=options.device,
        repetitions=options.repetitions or (1 if quick else 5),
        window_s=2.0 if quick else 6.0,
        mixed_window_s=5.0 if quick else 20.0,
        warm_up_s=0.5 if quick else 2.0,
        all_variants=options.all_variants,
    )


def _default_name(device: Device, *, quick: bool) -> str:
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{date}-{machine.short_name()}{'-cuda' if device == 'cuda' else ''}{'-quick' if quick else ''}.json"


def _show(result: dict[str, Any], svg: Path) -> None:
    svg.write_text(picture(result), encoding="utf-8")
    print(table(result))
    print(f"Picture: {svg}", file=sys.stderr)


def _succeeded(result: dict[str, Any]) -> bool:
    ours_failed = OURS in result["absent"] or any(error.startswith((OURS, STOPPED)) for error in result["errors"])
    return not ours_failed and all(check["right"] for check in result["checks"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--servers", nargs="+", choices=GROUPS, default=DEFAULT_GROUPS, metavar="NAME", help=" ".join(GROUPS)
    )
    parser.add_argument("--rows", nargs="+", choices=KEYS, default=KEYS, metavar="ROW", help="see below")
    parser.add_argument("--quick", action="store_true", help="one measurement of 2 s a row: to see that all runs")
    parser.add_argument("--all-variants", action="store_true", help="infinity in bfloat16 also where it is emulated")
    parser.add_argument("--repetitions", type=int, metavar="N", help="measurements a row (5; with --quick 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: ours and infinity on a GPU")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result is kept (benchmarks/results/...)")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="where the SVG goes (latest.svg beside the result)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=FOLDER / ".cache",
        metavar="DIR",
        help="peers' environments, models and logs (benchmarks/.cache)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="run nothing; show this kept result")
    return parser


if __name__ == "__main__":
    sys.exit(main())
