"""embeddings embed: texts to JSON on standard output, or a file of any size to Parquet, JSONL or NumPy."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cli.output import console, fail
from cli.requests import Server, texts_or_lines
from corpus.client import Client
from corpus.output import ids_path
from corpus.parts import parts_folder
from corpus.problems import CorpusError, GaveUpError, StoppedError
from corpus.progress import duration
from corpus.run import Options, Summary, embed_corpus

if TYPE_CHECKING:
    from cluster.run import Cluster


@dataclass(frozen=True)
class Fields:
    """The fields of a request for embeddings; None: not sent."""

    model: str | None
    input_type: str | None
    dimensions: int | None
    truncate: str | None


def embed_texts(texts: Sequence[str], fields: Fields, server: Server, *, as_json: bool) -> int:
    """Print the response of /v1/embeddings. Exit status: 0 done, 1 refused or not available."""
    given = {name: value for name, value in asdict(fields).items() if value is not None}
    try:
        content = server.post("/v1/embeddings", {"input": texts_or_lines(texts)} | given, as_json=as_json)
    except CorpusError as error:
        return fail(error, as_json=as_json, status=error.status)
    sys.stdout.write(content.decode() + "\n")
    return 0


def embed_lines(options: Options, texts: Sequence[str], *, as_json: bool) -> int:
    """The same into a file: the texts become a file of rows."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "texts.jsonl"
        lines = (json.dumps({"text": text}) + "\n" for text in texts_or_lines(texts))
        rows.write_text("".join(lines), encoding="utf-8")
        fixed = replace(options, input=rows, format=None, text="text", id=None, restart=True)
        return embed_file(fixed, as_json=as_json)


def embed_file(options: Options, *, as_json: bool) -> int:
    """Exit status: 0 done, otherwise that of the problem (corpus/problems.py)."""
    transport = Server(options.url, options.api_key_file).transport(as_json=as_json)
    place = parts_folder(options.out)
    return _finish(partial(embed_corpus, options, connect=partial(Client, transport=transport)), place, as_json=as_json)


def embed_on_cluster(options: Options, source: str, out: str, cluster: Cluster, *, as_json: bool) -> int:
    """The same with a Ray cluster: folders, also of object storage. Exit status as of `embed_file`."""
    from cluster.run import embed_on_ray

    return _finish(partial(embed_on_ray, options, source, out, cluster), options.out, as_json=as_json)


def _finish(run: Callable[[], Summary], place: Path, *, as_json: bool) -> int:
    """Run, and print the summary or what went wrong. Finished rows are in `place`."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Ray prints messages of its nodes
            summary = run()
    except (GaveUpError, StoppedError) as error:
        return fail(f"{error} Run the same command again to resume.", as_json=as_json, status=error.status)
    except CorpusError as error:
        return fail(error, as_json=as_json, status=error.status)
    except KeyboardInterrupt:
        message = "Stopped by SIGINT. Run the same command again to resume."
        return fail(message, as_json=as_json, status=128 + signal.SIGINT)
    except OSError as error:
        message = (
            f"{error.filename or place}: {error.strerror or error}. Finished rows are saved. Solve this problem and "
            "run the same command again to resume."
        )
        return fail(message, as_json=as_json, status=1)
    _print(summary, as_json=as_json)
    return 0


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
    out = console()
    dense = f" of {summary.dimensions} numbers" if summary.dimensions else ""
    tokens = f", tokens of {summary.token_dimensions} numbers" if summary.token_dimensions else ""
    out.print(f"{summary.out}{ids}: {summary.rows:,} rows{dense}{tokens} by {summary.model}", style="green")
    out.print(
        f"{summary.tokens:,} tokens in {duration(summary.seconds)}; texts cut: {summary.truncated:,}; "
        f"rows left out: {summary.left_out:,}; engine busy: {share}"
    )
