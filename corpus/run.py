"""One run over a corpus: check the input, embed the remaining rows, and join the parts to the output."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from corpus.client import LOCAL_URL, Client
from corpus.columns import Output
from corpus.embedding import Embedding, batches, text_bytes
from corpus.finished import list_file, refuse_to_overwrite
from corpus.journal import Journal, Plan, fingerprint, open_journal
from corpus.output import join, outputs, rows_in
from corpus.parts import PartWriter, forget, parts_folder
from corpus.problems import CorpusError
from corpus.progress import Busy, Progress
from corpus.rows import BadRow, Corpus, Row, format_of

_CHECKED = 1000
"""Rows between two updates of the progress while the input is checked."""


@dataclass(frozen=True)
class Options:
    """The options of `embeddings embed`, which its help describes."""

    input: Path
    out: Path
    format: str | None
    text: str
    id: str | None
    skip_bad: bool
    url: str | None
    """None: this process computes."""
    api_key_file: str | None
    model: str | None
    input_type: str | None
    dimensions: int | None
    outputs: tuple[Output, ...]
    truncate: str | None
    batch: int
    parallel: int
    priority: int
    patience: float
    save_every: float
    restart: bool


@dataclass(frozen=True)
class Summary:
    """Facts about a finished corpus, over all of its runs."""

    out: Path
    rows: int
    left_out: int
    dimensions: int | None
    """Width of the embeddings; None without them."""
    token_dimensions: int | None
    """The same of the token vectors."""
    model: str
    tokens: int
    truncated: int
    seconds: float
    seconds_of_this_run: float
    engine_busy: float | None
    """Share of the time in which the engine computed; None if unknown."""


def embed_corpus(options: Options, *, connect: Callable[..., Client] = Client) -> Summary:
    """Resume an interrupted run, or start one; CorpusError says what to change."""
    folder = parts_folder(options.out)
    if options.out.suffix != ".parquet" and options.outputs != ("dense",):
        raise CorpusError("Only Parquet has columns for other outputs than dense. Choose --out NAME.parquet.")
    if not options.input.is_file():
        raise CorpusError(f"{options.input} is not a file.")
    corpus = Corpus(options.input, options.format or format_of(options.input), options.text, options.id)
    refuse_to_overwrite(options.input, outputs(options.out), folder)
    folder.mkdir(parents=True, exist_ok=True)
    input_fingerprint = fingerprint(options.input)
    compare = {"input": input_fingerprint, "options": _identity(options, corpus)}
    started = time.monotonic()
    make_plan = partial(_plan, corpus, compare, options, folder)
    with open_journal(folder / "journal.jsonl", compare, make_plan, restart=options.restart) as journal:
        if not journal.plan.good_rows:
            raise CorpusError(f"{options.input} has no rows to embed.")
        busy = Busy()
        if journal.rows < journal.plan.good_rows:
            busy = asyncio.run(_embed(corpus, journal, options, folder, connect))
        if fingerprint(options.input) != input_fingerprint:
            raise CorpusError(f"{options.input} changed during the run. Start over with --restart.")
        join(journal, folder, options.out)
        if rows_in(options.out) != journal.plan.good_rows:
            raise CorpusError(f"{options.out} is incomplete. Run the same command again to rewrite it.")
        forget(folder)
        return _summary(journal, busy, time.monotonic() - started, options.out)


def _identity(options: Options, corpus: Corpus) -> dict[str, Any]:
    """The options that must not change between runs into the same output."""
    names = ("text", "id", "model", "input_type", "dimensions", "truncate")
    return {"format": corpus.format, "outputs": list(options.outputs)} | {
        name: getattr(options, name) for name in names
    }


def _plan(corpus: Corpus, compare: dict[str, dict[str, Any]], options: Options, folder: Path) -> Plan:
    """Check the whole input first, so that errors do not appear after hours. List invalid rows in a file."""
    progress = Progress("checking")
    good, bad, numbers = 0, 0, True
    first: BadRow | None = None
    with list_file(options.out.with_name(options.out.name + ".bad.jsonl"), folder) as (file, listed):
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
        message = f"{bad:,} of {rows:,} rows are invalid; the first is {first.place}: {first.reason}."
        if not options.skip_bad:
            raise CorpusError(f"{message} {listed[0]} lists them. Correct them, or skip them with --skip-bad.")
        progress.say(f"{message} They are skipped; {listed[0]} lists them.")
    return Plan(compare["input"], compare["options"], rows, good, "numbers" if numbers else "texts")


async def _embed(
    corpus: Corpus, journal: Journal, options: Options, folder: Path, connect: Callable[..., Client]
) -> Busy:
    """Embed the remaining rows into parts."""
    progress = Progress("embedding", done=journal.rows, total=journal.plan.good_rows)
    if journal.rows:
        progress.say(f"{journal.rows:,} of {journal.plan.good_rows:,} rows are done; resuming.")
    names = ("model", "input_type", "dimensions", "truncate", "priority")
    fields = {name: value for name in names if (value := getattr(options, name)) is not None}
    client = connect(
        options.url or LOCAL_URL,
        fields,
        progress.say,
        outputs=options.outputs,
        key=read_key(options.api_key_file),
        patience_s=options.patience,
        connections=options.parallel,
    )
    async with client:
        embedding = Embedding(client, PartWriter(folder, journal, options.save_every), progress, options.parallel)
        try:
            await embedding.run(batches(corpus.rows(journal.stop), options.batch, text_bytes(options.outputs)))
        finally:
            progress.close()
    return embedding.busy


def read_key(path: str | None) -> str | None:
    """The key in the first line of a file or, for `-`, of standard input; CorpusError if there is none."""
    if path is None:
        return None
    try:
        text = sys.stdin.readline() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}).") from None
    if not (lines := text.split()):
        raise CorpusError(f"{'Standard input' if path == '-' else path} contains no key.")
    return lines[0]


def _summary(journal: Journal, busy: Busy, seconds: float, out: Path) -> Summary:
    parts = journal.parts
    return Summary(
        out=out,
        rows=journal.rows,
        left_out=journal.plan.rows - journal.plan.good_rows,
        dimensions=parts[0].widths.get("dense"),
        token_dimensions=parts[0].widths.get("multi_vector"),
        model=parts[0].model,
        tokens=sum(part.tokens for part in parts),
        truncated=sum(part.truncated for part in parts),
        seconds=sum(part.seconds for part in parts),
        seconds_of_this_run=seconds,
        engine_busy=busy.share,
    )
