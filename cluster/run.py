"""One run on a Ray cluster: scan the files, compute the shards that are missing, and check that every row is there."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cluster.plan import BAD, PLAN, Plan, Scan, Shard, read_plan, scan
from cluster.storage import Place
from cluster.worker import Done, ShardWorker, read_done
from corpus.problems import CorpusError
from corpus.progress import Progress
from corpus.rows import Corpus, format_of
from corpus.run import Options, Summary
from in_process import Embedder
from settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
_NOT_SENT = [".git", ".venv*", "docs", "tests", "benchmarks", "**/__pycache__"]
"""What the nodes do not need of this folder."""
_PARALLEL_READS = 16


@dataclass(frozen=True)
class Cluster:
    """The options of --on ray."""

    address: str | None
    """Address of a running cluster; None: start Ray on this machine."""
    workers: int | None
    """Copies of the model; None: as many as fit."""
    cores: int | None
    """Cores of each copy on nodes without GPUs; None: those of the smallest node."""
    shard_rows: int


def embed_on_ray(options: Options, source: str, out: str, cluster: Cluster) -> Summary:
    """Resume an interrupted run, or start one; CorpusError says what to change."""
    started = time.monotonic()
    if options.outputs != ("dense",):
        raise CorpusError("--on ray computes dense vectors only. Omit --outputs.")
    ray = import_ray()
    settings = load_settings()
    options = replace(options, model=options.model or settings.embedding_model_name)
    target = Place.of(out)
    with _connected(ray, cluster.address):
        files = Place.of(source).files()
        corpora = [
            Corpus(place, options.format or format_of(PurePosixPath(place.path)), options.text, options.id)
            for place, _, _ in files
        ]
        run = _Run(ray, options, cluster, settings, corpora, target)
        plan = run.plan(files)
        done = run.embed(plan)
    if sum(each.rows for each in done) != plan.good:
        raise CorpusError(f"{out} is incomplete. Run the same command again.")
    seconds = time.monotonic() - started
    return Summary(
        out=Path(out),
        rows=plan.good,
        left_out=sum(scan.rows for scan in plan.scans) - plan.good,
        dimensions=done[0].dimensions,
        token_dimensions=None,
        model=done[0].model,
        tokens=sum(each.tokens for each in done),
        truncated=sum(each.truncated for each in done),
        seconds=seconds,
        seconds_of_this_run=seconds,
        engine_busy=None,
    )


def import_ray() -> Any:
    """Import Ray, which only --on ray needs; CorpusError if it is missing."""
    try:
        import ray.data
    except ImportError:
        raise CorpusError("--on ray needs Ray: pip install -r requirements-ray.txt") from None
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to the cluster, to whose nodes this folder's code is sent. CorpusError for what fails there."""
    where: dict[str, Any] = {"address": "local", "include_dashboard": False}
    if address:
        where = {"address": address, "runtime_env": {"working_dir": str(ROOT), "excludes": _NOT_SENT}}
    try:
        ray.init(**where, logging_level="error", log_to_driver=False)
    except Exception as error:  # Ray raises plain exceptions
        problem = f"Ray at {address} cannot be reached" if address else "Ray cannot be started on this machine"
        raise CorpusError(f"{problem}: {error}") from None
    try:
        yield
    except ray.exceptions.RayError as error:
        raise _converted(error) from None
    finally:
        ray.shutdown()


def _converted(error: BaseException) -> CorpusError:
    """The error of a node, without the traceback of Ray."""
    while (cause := getattr(error, "cause", None) or error.__cause__) is not None:
        error = cause
    if isinstance(error, CorpusError):
        return CorpusError(str(error))
    return CorpusError(f"A node failed with {type(error).__name__}: {error} Run the same command again to resume.")


@dataclass(frozen=True)
class _Run:
    """One run: `corpora` are the files to embed, `out` is the folder of the shards."""

    ray: Any
    options: Options
    cluster: Cluster
    settings: Settings
    corpora: Sequence[Corpus]
    out: Place

    def plan(self, files: Sequence[tuple[Place, int, int]]) -> Plan:
        """The plan of the run to resume, or a new one for which all files are read once, in parallel."""
        names = ("format", "text", "id", "model", "input_type", "dimensions", "truncate")
        chosen = {name: getattr(self.options, name) for name in names} | {"shard_rows": self.cluster.shard_rows}
        listed = [[place.path, size, changed] for place, size, changed in files]
        if self.options.restart:
            _forget(self.out)
        elif (plan := read_plan(self.out)) is not None:
            if (plan.input, plan.options) != (listed, chosen):
                what = "the options differ" if plan.input == listed else "the input has changed"
                raise CorpusError(
                    f"{self.out.path} belongs to a different run: {what}. Choose another --out, or discard its results "
                    "with --restart."
                )
            return plan
        self.out.make_folder()
        if not self.out.is_empty:
            raise CorpusError(f"{self.out.path} contains files of another program. Choose another --out.")
        plan = Plan(listed, chosen, self._scan([place for place, _, _ in files]))
        _report_bad(plan, self.out, skip=self.options.skip_bad)
        plan.write(self.out)
        return plan

    def embed(self, plan: Plan) -> list[Done]:
        """Compute the missing shards; the facts about all shards that have rows."""
        done, missing = _finished(plan, self.out)
        progress = Progress("embedding", done=sum(each.rows for each in done), total=plan.good)
        if done:
            progress.say(f"{sum(each.rows for each in done):,} of {plan.good:,} rows are done; resuming.")
        try:
            for each in self._computed(missing, numbers=plan.numbers):
                done.append(each)
                progress.add(each.rows, each.tokens)
                _require_same(done[0], each)
        finally:
            progress.close()
        return [each for each in done if each.rows]

    def _scan(self, files: Sequence[Place]) -> list[Scan]:
        progress = Progress("checking")
        task = self.ray.remote(scan)
        tasks = [
            task.remote(corpus, place, self.cluster.shard_rows, self.out / BAD.format(number))
            for number, (corpus, place) in enumerate(zip(self.corpora, files, strict=True))
        ]
        scans: list[Scan] = []
        for each in tasks:
            scans.append(self.ray.get(each))
            progress.add(scans[-1].rows)
        progress.close()
        return scans

    def _computed(self, shards: Sequence[Shard], *, numbers: bool) -> Iterator[Done]:
        """Facts about each shard once its file is written, in any order. Ray repeats the shards of a lost node."""
        if not shards:
            return
        ray = self.ray
        resources, fitting = _resources(ray, self.cluster, self.settings)
        workers = min(self.cluster.workers or fitting, len(shards))
        embedder = Embedder(
            self.options.model,
            settings=_for_nodes(self.settings, int(resources["num_cpus"])),
            truncate={None: "end", "END": "end", "START": "start", "NONE": "refuse"}[self.options.truncate],
            input_type=self.options.input_type,
            dimensions=self.options.dimensions,
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False  # ours counts rows, not shards
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        dataset = ray.data.from_items(
            [{"shard": number} for number in range(len(shards))], override_num_blocks=len(shards)
        ).map_batches(
            ShardWorker,
            fn_constructor_args=(embedder, self.corpora, shards, self.out, numbers),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
            **resources,
        )
        for row in dataset.iter_rows():
            yield Done(**row)


def _report_bad(plan: Plan, out: Place, *, skip: bool) -> None:
    """CorpusError if there are invalid rows, unless they are to be skipped, or no valid ones."""
    rows = sum(scan.rows for scan in plan.scans)
    first = next((scan.first_bad for scan in plan.scans if scan.first_bad), None)
    if first is not None and not skip:
        raise CorpusError(
            f"{rows - plan.good:,} of {rows:,} rows are invalid; the first is {first}. {out.path}/_bad.*.jsonl list "
            "them. Correct them, or skip them with --skip-bad."
        )
    if not plan.good:
        raise CorpusError("The input has no rows to embed.")


def _forget(out: Place) -> None:
    """Delete the shards and the plan of an earlier run."""
    plan = read_plan(out)
    for shard in plan.shards() if plan else ():
        with contextlib.suppress(FileNotFoundError):
            out.filesystem.delete_file((out / shard.name).path)
    if plan:
        out.filesystem.delete_file((out / PLAN).path)


def _finished(plan: Plan, out: Place) -> tuple[list[Done], list[Shard]]:
    """Facts about the shards that are there, and the shards that are not."""
    present = {place.name for place, _, _ in out.files()}
    shards = list(plan.shards())
    with ThreadPoolExecutor(_PARALLEL_READS) as readers:
        read = readers.map(lambda shard: read_done(out / shard.name) if shard.name in present else None, shards)
        found = list(zip(shards, read, strict=True))
    return [done for _, done in found if done], [shard for shard, done in found if not done]


def _resources(ray: Any, cluster: Cluster, settings: Settings) -> tuple[dict[str, float], int]:
    """What a copy of the model takes, and how many copies fit: one per GPU, or per group of cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 0 if settings.device == "cpu" else int(sum(node.get("GPU", 0) for node in nodes))
    if gpus:
        return {"num_cpus": 1, "num_gpus": 1}, gpus
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cpus:
        raise CorpusError("The cluster has neither GPUs nor CPUs for the model. Add a node.")
    cores = cluster.cores or min(cpus)
    if not (fitting := sum(cpu // cores for cpu in cpus)):
        raise CorpusError(f"No node has {cores} cores; the largest has {max(cpus)}. Choose a smaller --cores.")
    return {"num_cpus": cores}, fitting


def _for_nodes(settings: Settings, cores: int) -> Settings:
    """This process's settings for the nodes, without secrets that only the service needs."""
    return settings.model_copy(
        update={"cpu_threads": settings.cpu_threads or cores, "api_keys": (), "cohere_api_key": None}
    )


def _require_same(first: Done, other: Done) -> None:
    """CorpusError if two shards do not have the same model."""
    if other.rows and (first.model, first.revision, first.dimensions) != (
        other.model,
        other.revision,
        other.dimensions,
    ):
        raise CorpusError(
            f"The nodes have different models: {first.model} {first.revision} and {other.model} {other.revision}. "
            "Import the same revision on all nodes, and start over with --restart."
        )
