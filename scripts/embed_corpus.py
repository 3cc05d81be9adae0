"""Embed a JSONL, CSV or Parquet file of any size through the running service.

What is finished lies in parts beside the output: a run that was interrupted goes on there when the same command is
given again, and the output appears when it is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from scripts.corpus.client import Client
from scripts.corpus.embedding import Embedding, batches
from scripts.corpus.finished import list_file, refuse_to_overwrite
from scripts.corpus.journal import Journal, Plan, fingerprint, open_journal
from scripts.corpus.output import SUFFIXES, ids_path, join, outputs, rows_in
from scripts.corpus.parts import PartWriter, forget, parts_folder
from scripts.corpus.problems import CorpusError, GaveUpError, StoppedError
from scripts.corpus.progress import Busy, Progress, duration
from scripts.corpus.rows import FORMATS, BadRow, Corpus, Row, format_of

EXAMPLES = """examples:
  scripts/embed_corpus chunks.jsonl --out chunks.parquet --model bge-m3 --input-type document
  scripts/embed_corpus products.csv --text description --id sku --out products.npy
  scripts/embed_corpus chunks.parquet --out vectors.parquet --url http://gpu-host:7987 --parallel 4

exit status: 0 done, 1 something has to be changed first, 2 the command is wrong or the service did not answer for
--patience, 130 interrupted. After 2 and 130, and after a kill, the same command goes on.
"""


_CHECKED = 1000
"""Rows between two steps of the bar while the input is checked."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: see EXAMPLES."""
    options = _parser().parse_args(arguments)
    folder = parts_folder(options.out)
    try:
        return _run(options, folder)
    except (GaveUpError, StoppedError) as error:
        return _fail(f"{error} Run the same command again to go on.", options, error.status)
    except CorpusError as error:
        return _fail(str(error), options, error.status)
    except KeyboardInterrupt:
        return _fail("Stopped by SIGINT. Run the same command again to go on.", options, 128 + signal.SIGINT)
    except OSError as error:
        place = error.filename or folder
        return _fail(
            f"{place}: {error.strerror or error}. Nothing that was finished is lost: put that right and run the same "
            "command again to go on.",
            options,
            1,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/embed_corpus",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("input", type=Path, metavar="FILE", help="the corpus; its rows are read as a stream")
    add("--out", type=_output, required=True, metavar="FILE", help="NAME.parquet, or NAME.npy with NAME.ids.jsonl")
    add("--format", choices=FORMATS, help="format of the input; default: by its name")
    add("--text", default="text", metavar="FIELD", help="field or column of the texts (text)")
    add("--id", metavar="FIELD", help="field or column that is copied to the output; default: the row's number from 0")
    add("--skip-bad", action="store_true", help="leave out rows without a text, and write them to OUT.bad.jsonl")
    add("--url", type=_url, default="http://localhost:7987", help="the service (http://localhost:7987)")
    add("--api-key-file", metavar="FILE", help="file whose first line is the key; -: standard input")
    add("--model", metavar="NAME", help="embedding model; default: the service's")
    add("--input-type", metavar="SIDE", help="side of a search, for models with prompts: document or query")
    add("--dimensions", type=_positive, metavar="N", help="cut the vectors to N dimensions")
    add("--truncate", choices=("END", "START", "NONE"), help="cut too long texts there; NONE: stop (END)")
    add("--batch", type=_positive, default=128, metavar="N", help="texts in one request (128); fewer of long ones")
    add("--parallel", type=_positive, default=3, metavar="N", help="requests in flight (3)")
    add("--priority", type=int, default=500, metavar="N", help="0 to 999; people who search have 0 (500)")
    add("--patience", type=float, default=600, metavar="SECONDS", help="wait so long for a service that is away (600)")
    add("--save-every", type=float, default=10, metavar="SECONDS", help="what a kill may cost (10)")
    add("--restart", action="store_true", help="throw away what an interrupted run has finished")
    add("--json", action="store_true", help="print the summary as a JSON object, for programs")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> int:
    if not options.input.is_file():
        raise CorpusError(f"{options.input} is not a file.")
    corpus = Corpus(options.input, options.format or format_of(options.input), options.text, options.id)
    refuse_to_overwrite(options.input, outputs(options.out), folder)
    folder.mkdir(parents=True, exist_ok=True)
    print_of_input = fingerprint(corpus.path)
    compare = {"input": print_of_input, "options": _identity(options, corpus)}
    started = time.monotonic()
    make_plan = partial(_plan, corpus, compare, options, folder)
    with open_journal(folder / "journal.jsonl", compare, make_plan, restart=options.restart) as journal:
        if not journal.plan.good_rows:
            raise CorpusError(f"{corpus.path} has no row to embed.")
        busy = Busy()
        if journal.rows < journal.plan.good_rows:
            busy = asyncio.run(_embed(corpus, journal, options, folder))
        if fingerprint(corpus.path) != print_of_input:
            raise CorpusError(f"{corpus.path} was changed meanwhile. Begin anew with --restart.")
        join(journal, folder, options.out)
        if rows_in(options.out) != journal.plan.good_rows:
            raise CorpusError(f"{options.out} cannot be read back whole. Run the same command again to write it anew.")
        forget(folder)
        _summarize(journal, busy, time.monotonic() - started, options)
    return 0


def _identity(options: argparse.Namespace, corpus: Corpus) -> dict[str, Any]:
    """What two runs must share for their rows to stand in one file."""
    names = ("text", "id", "model", "input_type", "dimensions", "truncate")
    return {"format": corpus.format} | {name: getattr(options, name) for name in names}


def _plan(corpus: Corpus, compare: dict[str, dict[str, Any]], options: argparse.Namespace, folder: Path) -> Plan:
    """Read the whole input once: better now than after hours. Wrong rows go to a file, or end the run."""
    progress = Progress("checking")
    good, bad, numbers = 0, 0, True
    first: BadRow | None = None
    with list_file(options.out.with_name(options.out.name + ".bad.jsonl"), folder) as (file, name):
        for row in corpus.rows():
            if isinstance(row, Row):
                good += 1
                numbers = numbers and isinstance(row.id, int) and -(2**63) <= row.id < 2**63
            else:
                bad, first = bad + 1, first or row
                content = {"row": row.number, "place": row.place, "reason": row.reason, "content": row.content}
                file.write(orjson.dumps(content, default=str) + b"\n")
            if (good + bad) % _CHECKED == 0:
                progress.add(_CHECKED)
    rows = good + bad
    progress.add(rows % _CHECKED)
    progress.close()
    if first is not None:
        wrong = f"{bad:,} of {rows:,} rows are wrong; the first is {first.place}: {first.reason}."
        if not options.skip_bad:
            raise CorpusError(f"{wrong} {name[0]} lists them. Repair them, or leave them out with --skip-bad.")
        progress.say(f"{wrong} They are left out; {name[0]} lists them.")
    return Plan(compare["input"], compare["options"], rows, good, "numbers" if numbers else "texts")


async def _embed(corpus: Corpus, journal: Journal, options: argparse.Namespace, folder: Path) -> Busy:
    """The rows that the journal lacks, into parts."""
    progress = Progress("embedding", done=journal.rows, total=journal.plan.good_rows)
    if journal.rows:
        progress.say(f"{journal.rows:,} of {journal.plan.good_rows:,} rows are done; going on there.")
    names = ("model", "input_type", "dimensions", "truncate", "priority")
    fields = {name: value for name in names if (value := getattr(options, name)) is not None}
    client = Client(
        options.url,
        fields,
        progress.say,
        key=_read_key(options.api_key_file),
        patience_s=options.patience,
        connections=options.parallel,
    )
    async with client:
        embedding = Embedding(client, PartWriter(folder, journal, options.save_every), progress, options.parallel)
        try:
            await embedding.run(batches(corpus.rows(journal.stop), options.batch))
        finally:
            progress.close()
    return embedding.busy


def _read_key(path: str | None) -> str | None:
    if path is None:
        return None
    text = sys.stdin.readline() if path == "-" else Path(path).read_text(encoding="utf-8")
    if not (lines := text.split()):
        raise CorpusError(f"{'Standard input' if path == '-' else path} holds no key.")
    return lines[0]


def _summarize(journal: Journal, busy: Busy, seconds: float, options: argparse.Namespace) -> None:
    parts = journal.parts
    summary = {
        "out": str(options.out),
        "rows": journal.rows,
        "left_out": journal.plan.rows - journal.plan.good_rows,
        "dimensions": parts[0].dimensions,
        "model": parts[0].model,
        "tokens": sum(part.tokens for part in parts),
        "truncated": sum(part.truncated for part in parts),
        "seconds": round(sum(part.seconds for part in parts), 1),
        "seconds_of_this_run": round(seconds, 1),
        "engine_busy": None if busy.share is None else round(busy.share, 3),
    }
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    ids = f" and {ids_path(options.out)}" if options.out.suffix == ".npy" else ""
    share = "unknown" if busy.share is None else f"{busy.share:.0%} of the time"
    sys.stdout.write(
        f"{options.out}{ids}: {summary['rows']:,} rows of {summary['dimensions']} numbers by {summary['model']}\n"
        f"{summary['tokens']:,} tokens in {duration(sum(part.seconds for part in parts))}; texts cut: "
        f"{summary['truncated']:,}; rows left out: {summary['left_out']:,}; engine busy: {share}\n"
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
        raise argparse.ArgumentTypeError("must begin with http:// or https://")
    return text.rstrip("/").removesuffix("/v1")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head` ends quietly
    sys.exit(main())
