"""Embed a JSONL, CSV or Parquet file of any size through the running service.

Finished rows are saved beside the output. After an interruption, run the same command again to resume. The output gets
its name when it is complete.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from corpus.client import Client
from corpus.output import SUFFIXES, ids_path
from corpus.parts import parts_folder
from corpus.problems import CorpusError, GaveUpError, StoppedError
from corpus.progress import duration
from corpus.rows import FORMATS
from corpus.run import Options, Summary, embed_corpus

EXAMPLES = """examples:
  scripts/embed_corpus chunks.jsonl --out chunks.parquet --model bge-m3 --input-type document
  scripts/embed_corpus products.csv --text description --id sku --out products.npy
  scripts/embed_corpus chunks.parquet --out vectors.parquet --url http://gpu-host:7987 --parallel 4

exit status: 0 done; 1 something must be changed first, see the message; 2 invalid command, or no response from the
service within --patience; 130 interrupted. After 2, 130 or a kill, run the same command again to resume.
"""


def main(arguments: list[str] | None = None, *, connect: Callable[..., Client] = Client) -> int:
    """Exit status: see EXAMPLES."""
    options = _parser().parse_args(arguments)
    try:
        chosen = Options(**{each.name: getattr(options, each.name) for each in fields(Options)})
        summary = embed_corpus(chosen, connect=connect)
    except (GaveUpError, StoppedError) as error:
        return _fail(f"{error} Run the same command again to resume.", options, error.status)
    except CorpusError as error:
        return _fail(str(error), options, error.status)
    except KeyboardInterrupt:
        return _fail("Stopped by SIGINT. Run the same command again to resume.", options, 128 + signal.SIGINT)
    except OSError as error:
        place = error.filename or parts_folder(options.out)
        return _fail(
            f"{place}: {error.strerror or error}. Finished rows are saved. Solve this problem and run the same command "
            "again to resume.",
            options,
            1,
        )
    _print(summary, as_json=options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/embed_corpus",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("input", type=Path, metavar="FILE", help="input file; its rows are read as a stream")
    add("--out", type=_output, required=True, metavar="FILE", help="NAME.parquet, or NAME.npy with NAME.ids.jsonl")
    add("--format", choices=FORMATS, help="format of the input; default: from its name")
    add("--text", default="text", metavar="FIELD", help="field or column with the texts (default: text)")
    add("--id", metavar="FIELD", help="field or column to use as id; default: the number of the row, from 0")
    add("--skip-bad", action="store_true", help="leave out rows without a text; OUT.bad.jsonl lists them")
    add("--url", type=_url, default="http://localhost:7987", help="URL of the service (default: http://localhost:7987)")
    add("--api-key-file", metavar="FILE", help="file with the API key in its first line; -: standard input")
    add("--model", metavar="NAME", help="embedding model; default: that of the service")
    add("--input-type", metavar="SIDE", help="document or query, for models with prompts")
    add("--dimensions", type=_positive, metavar="N", help="reduce the embeddings to N dimensions")
    add(
        "--truncate",
        choices=("END", "START", "NONE"),
        help="side on which texts that are too long are cut; NONE: stop instead (default: END)",
    )
    add(
        "--batch",
        type=_positive,
        default=128,
        metavar="N",
        help="maximum number of texts per request (default: 128); fewer if they are long",
    )
    add("--parallel", type=_positive, default=3, metavar="N", help="concurrent requests (default: 3)")
    add(
        "--priority",
        type=int,
        default=500,
        metavar="N",
        help="priority from 0 (first) to 999 (default: 500); searches have 0",
    )
    add(
        "--patience",
        type=float,
        default=600,
        metavar="SECONDS",
        help="how long to wait for a service that does not respond (default: 600)",
    )
    add(
        "--save-every",
        type=float,
        default=10,
        metavar="SECONDS",
        help="interval at which finished rows are saved (default: 10)",
    )
    add("--restart", action="store_true", help="discard the finished rows of an interrupted run")
    add("--json", action="store_true", help="print the summary as a JSON object")
    return parser


def _print(summary: Summary, *, as_json: bool) -> None:
    busy = summary.engine_busy
    if as_json:
        rounded = {
            "out": str(summary.out),
            "seconds": round(summary.seconds, 1),
            "seconds_of_this_run": round(summary.seconds_of_this_run, 1),
            "engine_busy": None if busy is None else round(busy, 3),
        }
        sys.stdout.write(json.dumps(asdict(summary) | rounded) + "\n")
        return
    ids = f" and {ids_path(summary.out)}" if summary.out.suffix == ".npy" else ""
    share = "unknown" if busy is None else f"{busy:.0%} of the time"
    sys.stdout.write(
        f"{summary.out}{ids}: {summary.rows:,} rows of {summary.dimensions} numbers by {summary.model}\n"
        f"{summary.tokens:,} tokens in {duration(summary.seconds)}; texts cut: "
        f"{summary.truncated:,}; rows left out: {summary.left_out:,}; engine busy: {share}\n"
    )


def _fail(message: str, options: argparse.Namespace, status: int) -> int:
    if options.json:
        sys.stdout.write(json.dumps({"error": message}) + "\n")
    else:
        sys.stderr.write(f"{message}\n")
    return status


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end with {' or '.join(SUFFIXES)}")
    return path


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("must start with http:// or https://")
    return text.rstrip("/").removesuffix("/v1")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a positive integer")
    return int(text)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head` ends quietly
    sys.exit(main())
