"""All commands and their options. What a command needs is imported when it runs, so that help appears at once."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from cli import NAME

app = typer.Typer(
    name=NAME,
    help="Embeddings and rankings with Hugging Face models: a service, and commands for this machine.",
    epilog="The settings of the service are environment variables and apply to all commands (docs/settings.md). Exit "
    "status: 0 done; 1 something failed, see the message; 2 invalid command or settings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bench_app = typer.Typer(help="Compare the speed of this service with other services.", invoke_without_command=True)
app.add_typer(bench_app, name="bench", rich_help_panel="Models")

FILES, SERVICE, SPEED, RAY = "Files", "Service", "Long files", "Ray cluster"
"""Headings of groups of options in the help."""


def _complete_model(incomplete: str) -> list[str]:
    """Names of the catalogue for the shell's completion."""
    from models.catalog import load_catalog

    return [spec.name for spec in load_catalog() if spec.name.startswith(incomplete.lower())]


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"\s", text)
    except ValueError:
        valid = False
    if not valid:
        raise typer.BadParameter("must be a URL that starts with http:// or https://")
    return text.rstrip("/").removesuffix("/v1")


def _output(text: str) -> Path:
    from corpus.output import SUFFIXES

    path = Path(text)
    if path.suffix not in SUFFIXES:
        raise typer.BadParameter(f"--out must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    return path


def _in_a_folder(path: Path | None) -> Path | None:
    """Refuse a file that could not be written after the measurement."""
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{path.parent} is not a folder.")
    return path


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of models.", autocompletion=_complete_model)]
SomeNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Names of models.", autocompletion=_complete_model),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the model; default: that of the service.", autocompletion=_complete_model
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        parser=_url,
        help="URL of a running service that computes; without it, this process does.",
        rich_help_panel=SERVICE,
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File with the service's API key in its first line; -: standard input.",
        rich_help_panel=SERVICE,
    ),
]


@app.callback()
def _prepare() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


@app.command(rich_help_panel="Service")
def serve(
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port to listen on; default: PORT.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Log in JSON: REQUEST_LOG=json.")] = False,
) -> None:
    """Start the service, and print its URLs when it is ready."""
    from cli.serve import serve

    serve(host, port, as_json=json)


@app.command(rich_help_panel="Service")
def health(json: Json = False) -> None:
    """Ask the service that runs with these settings whether it is ready.

    The container's health check. Exit status: 0 ready, 1 not.
    """
    from cli.health import report

    raise typer.Exit(report(as_json=json))


@app.command(rich_help_panel="Service")
def doctor(json: Json = False) -> None:
    """Find out what is wrong with this machine or the settings, and which command corrects it.

    Exit status: 0 no problem, 1 a problem.
    """
    from cli.doctor import report

    raise typer.Exit(report(as_json=json))


@app.command(rich_help_panel="Texts")
def embed(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts; default: the lines of standard input.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="JSONL, CSV, TSV or Parquet file of any size with texts.", rich_help_panel=FILES
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="NAME.parquet, NAME.jsonl, or NAME.npy with NAME.ids.jsonl; default: JSON on standard output.",
            rich_help_panel=FILES,
        ),
    ] = None,
    format: Annotated[  # noqa: A002  # the name of the option
        Literal["jsonl", "csv", "tsv", "parquet"] | None,
        typer.Option(help="Format of the file; default: from its name.", rich_help_panel=FILES),
    ] = None,
    text: Annotated[
        str, typer.Option(metavar="FIELD", help="Field or column with the texts.", rich_help_panel=FILES)
    ] = "text",
    id: Annotated[  # noqa: A002  # the name of the option
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field or column to use as id; default: the number of the row, from 0.",
            rich_help_panel=FILES,
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Leave out rows without a text; OUT.bad.jsonl lists them.", rich_help_panel=FILES
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Discard the finished rows of an interrupted run.", rich_help_panel=FILES),
    ] = False,
    model: Model = None,
    input_type: Annotated[
        str | None, typer.Option(metavar="SIDE", help="document or query, for models with prompts.")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Reduce the embeddings to N dimensions.")
    ] = None,
    outputs: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Columns of a Parquet file, separated by commas: dense, sparse, multi_vector.",
            rich_help_panel=FILES,
        ),
    ] = "dense",
    truncate: Annotated[
        Literal["END", "START", "NONE"] | None,
        typer.Option(help="Side on which texts that are too long are cut; NONE: stop instead. Default: END."),
    ] = None,
    url: Url = None,
    api_key_file: KeyFile = None,
    batch: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Maximum number of texts per request; fewer if they are long.",
            rich_help_panel=SPEED,
        ),
    ] = 128,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, help="Concurrent requests.", rich_help_panel=SPEED)] = 3,
    priority: Annotated[
        int,
        typer.Option(metavar="N", help="Priority from 0 (first) to 999; searches have 0.", rich_help_panel=SPEED),
    ] = 500,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long to wait for a service that does not respond.", rich_help_panel=SPEED
        ),
    ] = 600,
    save_every: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Interval at which finished rows are saved.", rich_help_panel=SPEED),
    ] = 10,
    on: Annotated[
        Literal["ray"] | None,
        typer.Option(
            help="Compute on a Ray cluster. --file may then be a folder; --out is a folder of Parquet files. Both are "
            "paths or URIs (s3://, gs://, abfs://, hdfs://) that all nodes can reach.",
            rich_help_panel=RAY,
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of the cluster; default: Ray on this machine.", rich_help_panel=RAY)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Copies of the model; default: as many as fit.", rich_help_panel=RAY),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Cores of a copy without GPU; default: those of the smallest node.",
            rich_help_panel=RAY,
        ),
    ] = None,
    shard_rows: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Rows of an output file; an interruption costs the files that are not complete.",
            rich_help_panel=RAY,
        ),
    ] = 10_000,
    json: Annotated[
        bool, typer.Option("--json", help="With --out: print the summary as JSON. The embeddings are JSON anyway.")
    ] = False,
) -> None:
    """Compute embeddings of texts, of lines, or of a file of any size.

    With --file, finished rows are saved beside the output, which gets its name
    when it is complete. After an interruption, the same command resumes.

    Exit status with --out: 2 also if the service did not respond within
    --patience, 130 if interrupted.
    """
    from cli.embed import Fields, embed_file, embed_lines, embed_on_cluster, embed_texts
    from cli.requests import Server
    from corpus.columns import OUTPUTS
    from corpus.run import Options

    names = outputs.replace(" ", "").split(",")
    if not set(names) <= set(OUTPUTS):
        raise typer.BadParameter(f"--outputs must be of {', '.join(OUTPUTS)}.")
    if file is not None and (texts or out is None):
        raise typer.BadParameter("--file needs --out, and excludes texts.")
    if file is not None and "://" in file and not on:
        raise typer.BadParameter("--file is a path. A URI needs --on ray.")
    if on and (file is None or url):
        raise typer.BadParameter("--on needs --file, and excludes --url.")
    if out is None:
        fields = Fields(model, input_type, dimensions, truncate)
        raise typer.Exit(embed_texts(texts or [], fields, Server(url, api_key_file), as_json=json))
    options = Options(
        input=Path(file or ""),
        out=Path(out) if on else _output(out),
        format=format,
        text=text,
        id=id,
        skip_bad=skip_bad,
        url=url,
        api_key_file=api_key_file,
        model=model,
        input_type=input_type,
        dimensions=dimensions,
        outputs=tuple(output for output in OUTPUTS if output in names),
        truncate=truncate,
        batch=batch,
        parallel=parallel,
        priority=priority,
        patience=patience,
        save_every=save_every,
        restart=restart,
    )
    if on:
        from cluster.run import Cluster

        cluster = Cluster(address, workers, cores, shard_rows)
        raise typer.Exit(embed_on_cluster(options, file or "", out, cluster, as_json=json))
    run = embed_file(options, as_json=json) if file else embed_lines(options, texts or [], as_json=json)
    raise typer.Exit(run)


@app.command(rich_help_panel="Texts")
def rank(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Text to compare with.")],
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts to rank; default: the lines of standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with one text per line.")] = None,
    top: Annotated[int, typer.Option(metavar="N", min=0, help="Number of results; 0: all.")] = 0,
    model: Model = None,
    url: Url = None,
    api_key_file: KeyFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the response of /v1/rerank.")] = False,
) -> None:
    """Rank texts by their relevance to a query. An embedding model may rank, too."""
    from cli.rank import rank
    from cli.requests import Server

    server = Server(url, api_key_file)
    raise typer.Exit(rank(query, documents or [], file, top, model, server, as_json=json))


@app.command("import", rich_help_panel="Models")
def import_(
    names: SomeNames = None,
    preload: Annotated[
        bool, typer.Option("--preload", help="Import the models of PRELOAD_MODELS, which may be empty.")
    ] = False,
    all: Annotated[bool, typer.Option("--all", help="Import all models of the catalogue.")] = False,  # noqa: A002
    from_dir: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Import one model from the files in this folder.")
    ] = None,
    json: Json = False,
) -> None:
    """Import models into the store: download, convert and verify them.

    A name may also be the full name of another repository of the Hugging Face Hub.
    """
    from cli.models import import_models

    raise typer.Exit(import_models(names or [], preload=preload, everything=all, from_dir=from_dir, as_json=json))


@app.command("list", rich_help_panel="Models")
def list_(
    stored: Annotated[bool, typer.Option("--stored", help="Only the models in the store.")] = False,
    json: Json = False,
) -> None:
    """List all models and whether they are stored."""
    from cli.models import list_models

    raise typer.Exit(list_models(only_stored=stored, as_json=json))


@app.command(rich_help_panel="Models")
def remove(names: Names, json: Json = False) -> None:
    """Remove models from the store."""
    from cli.models import remove_models

    raise typer.Exit(remove_models(names, as_json=json))


@app.command(rich_help_panel="Models")
def verify(names: SomeNames = None, json: Json = False) -> None:
    """Verify stored models, all by default.

    Compares files with their digests, and results with sentence-transformers and published numbers.
    """
    from cli.models import verify_models

    raise typer.Exit(verify_models(names or [], as_json=json))


@app.command(rich_help_panel="Models")
def compare(
    names: Names,
    queries: Annotated[Path, typer.Option(metavar="FILE", help="JSONL with id, text and, for quality, relevant.")],
    passages: Annotated[Path, typer.Option(metavar="FILE", help="JSONL with id and text.")],
    candidates: Annotated[int, typer.Option(metavar="N", min=1, help="Number of passages that rerankers sort.")] = 100,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=_in_a_folder, help="Also write the results as an SVG.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare models on your own queries and passages: quality, speed and memory on this machine."""
    from cli.compare import compare_models

    raise typer.Exit(compare_models(names, queries, passages, candidates, chart, as_json=json))


@bench_app.callback()
def bench(
    context: typer.Context,
    servers: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Servers to measure, separated by commas.")
    ] = None,
    rows: Annotated[str | None, typer.Option(metavar="ROW,...", help="Rows of the table; default: all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One measurement of 2 s a row: to see that all runs.")] = False,
    all_variants: Annotated[
        bool, typer.Option("--all-variants", help="infinity in bfloat16 also where it is emulated.")
    ] = False,
    repetitions: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Measurements a row; default: 5, with --quick 1.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="cuda: this service and infinity on a GPU.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the result is kept; default: benchmarks/results/...")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=_in_a_folder, help="Where the SVG goes; default: latest.svg beside the result."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Environments, models and logs; default: benchmarks/.cache"),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Run nothing; show this kept result.")] = None,
    json: Json = False,
) -> None:
    """Compare the speed of this service with other services; takes more than an hour on two cores.

    Exit status: 0 if this service ran and all results agree, otherwise 1.
    """
    if importlib.util.find_spec("benchmarks") is None:
        raise typer.BadParameter("The benchmark is not part of the container image. Run it in a checkout.")
    if context.invoked_subcommand is not None:
        return
    from cli.bench import Choice, measure, show_kept

    if report is not None:
        raise typer.Exit(show_kept(report, picture, as_json=json))
    choice = Choice(servers, rows, quick, all_variants, repetitions, device, cache)
    raise typer.Exit(measure(choice, out, picture, as_json=json))


@bench_app.command()
def frontend(
    against: Annotated[str | None, typer.Option(metavar="REVISION", help="Another revision.")] = None,
    workers: Annotated[
        str, typer.Option(metavar="N,...", help="Measure this checkout with N workers, not another revision.")
    ] = "",
    pass_ms: Annotated[float, typer.Option(metavar="MS", help="Duration of a pass of the engine.")] = 0.0,
    repetitions: Annotated[int, typer.Option(metavar="N", min=1, help="Measurements of each server.")] = 5,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="Duration of one measurement.")] = 4.0,
    cache: Annotated[Path | None, typer.Option(metavar="FOLDER", help="default: benchmarks/.cache")] = None,
    json: Json = False,
) -> None:
    """Measure the cost of a request without the model: one short text and a stub engine."""
    from cli.bench import frontend_options, measure_frontend

    options = frontend_options(against, workers, pass_ms, repetitions, window, cache)
    raise typer.Exit(measure_frontend(options, as_json=json))


@bench_app.command()
def fleet(
    what: Annotated[
        Literal["table", "validate", "measure"],
        typer.Argument(help="Simulate; compare with three real replicas; or measure what this machine's work costs."),
    ] = "table",
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="validate: duration of each load.")] = 100.0,
    constants: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Costs; default: benchmarks/fleet/constants.json")
    ] = None,
    cache: Annotated[Path | None, typer.Option(metavar="FOLDER", help="default: benchmarks/.cache")] = None,
) -> None:
    """Simulate many replicas: how many hold a load, thresholds of autoscalers, what breaks first.

    Exit status: 0; 1 if validate finds an error of more than 15 %.
    """
    if importlib.util.find_spec("simpy") is None:
        raise typer.BadParameter("The simulation needs SimPy, which scripts/install --dev installs.")
    from benchmarks.checkpoints import ROOT
    from benchmarks.fleet.commands import run
    from benchmarks.fleet.constants import MEASURED

    folder = cache or ROOT / "benchmarks" / ".cache"
    raise typer.Exit(run(what, constants=constants or MEASURED, cache=folder.resolve(), seconds=seconds))
