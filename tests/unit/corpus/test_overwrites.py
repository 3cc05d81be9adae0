"""./embeddings embed never overwrites or removes a file that it has not made; its patience holds for 504 too."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from starlette.responses import Response

from corpus import run as corpus_run
from corpus.client import Client
from tests.serving import DEAD_ENDPOINT
from tests.unit.corpus.conftest import ROWS, Run, write_rows
from tests.unit.corpus.corpus_service import FakeService, error
from tests.unit.corpus.test_resume import KilledError, interrupted
from tests.unit.fakes import Clock

PRECIOUS = '{"text": "precious"}\n'


def everything(folder: Path) -> dict[str, bytes | str]:
    """Every file with its content, every link with its target."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def refused(run: Run, *options: str, rows: str = "corpus.jsonl") -> str:
    """The words of a run that changes nothing."""
    before = everything(run.folder)
    message = run.fails(*options, rows=rows)
    assert everything(run.folder) == before
    return message


def test_the_ids_of_the_output_do_not_overwrite_the_input(run: Run) -> None:
    run.out = "chunks.npy"
    write_rows(run.folder / "chunks.ids.jsonl", [{"text": "a"}])
    assert "chunks.ids.jsonl is the input" in refused(run, rows="chunks.ids.jsonl")


@pytest.mark.parametrize("name", ["out.npy", "out.ids.jsonl"])
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_nor_through_a_link(run: Run, name: str, link: Callable[[Path, Path], None]) -> None:
    link(run.folder / "corpus.jsonl", run.folder / name)
    assert f"{name} is the input" in refused(run)


@pytest.mark.parametrize("name", ["out.npy", "out.ids.jsonl", "out.npy.parts"])
@pytest.mark.parametrize("restart", [[], ["--restart"]])
def test_what_is_there_stays(run: Run, name: str, restart: list[str]) -> None:
    (run.folder / name).write_text(PRECIOUS)
    assert f"{name} already exists" in refused(run, *restart)


def test_a_link_to_nowhere_is_somebodys_too(run: Run) -> None:
    (run.folder / "out.npy").symlink_to(run.folder / "later")
    assert "out.npy already exists" in refused(run)


@pytest.mark.parametrize("name", ["out.npy", "out.ids.jsonl"])
def test_what_appears_while_the_run_is_interrupted_stays(
    run: Run, fake: FakeService, texts: list[str], name: str
) -> None:
    interrupted(run, fake)
    (run.folder / name).write_text(PRECIOUS)
    assert f"{name} already exists" in refused(run)
    (run.folder / name).unlink()
    assert run() == 0
    run.check(texts)


@pytest.mark.parametrize("name", ["out.npy", "out.ids.jsonl"])
def test_what_appears_while_the_run_goes_on_stays(run: Run, fake: FakeService, texts: list[str], name: str) -> None:
    def appear() -> None:
        (run.folder / name).write_text(PRECIOUS)

    fake.answers = {3: appear}
    assert f"{name} was created by another program meanwhile" in run.fails()
    assert (run.folder / name).read_text() == PRECIOUS
    (run.folder / name).unlink()
    assert run() == 0
    run.check(texts)


@pytest.mark.parametrize("bad", [True, False])
def test_the_list_of_wrong_rows_takes_a_name_that_is_free(run: Run, bad: bool) -> None:
    (run.folder / "out.npy.bad.jsonl").write_text(PRECIOUS)
    write_rows(run.folder / "rows.jsonl", [{"text": "good"}, {"text": "" if bad else "too"}])
    message = run.fails("--skip-bad", rows="rows.jsonl", status=0)
    assert (run.folder / "out.npy.bad.jsonl").read_text() == PRECIOUS
    assert (run.folder / "out.npy.bad.2.jsonl").exists() == ("out.npy.bad.2.jsonl lists them" in message) == bad


def test_the_same_list_is_not_written_twice(run: Run) -> None:
    write_rows(run.folder / "rows.jsonl", [{"text": "good"}, {"text": ""}])
    for options, status in (([], 1), ([], 1), (["--skip-bad"], 0)):
        assert "out.npy.bad.jsonl lists them" in run.fails(*options, rows="rows.jsonl", status=status)
    assert [path.name for path in run.folder.glob("*.bad*")] == ["out.npy.bad.jsonl"]


def test_the_list_of_wrong_rows_may_be_the_input(run: Run) -> None:
    """Repaired, as the message asks for."""
    rows = [{"row": 1, "place": "line 2", "reason": "'text' is empty", "content": {}, "text": each} for each in "a "]
    write_rows(run.folder / "out.npy.bad.jsonl", list(rows))
    before = (run.folder / "out.npy.bad.jsonl").read_bytes()
    assert run("--skip-bad", rows="out.npy.bad.jsonl") == 0
    run.check(["a"])
    assert (run.folder / "out.npy.bad.jsonl").read_bytes() == before


def test_a_folder_of_that_name_stays(run: Run) -> None:
    run.parts.mkdir()
    (run.parts / "000000000000.npz").write_text(PRECIOUS)
    for options in ([], ["--restart"]):
        assert "out.npy.parts already exists and was not created by this program" in refused(run, *options)


def test_somebody_elses_journal_stays(run: Run) -> None:
    run.parts.mkdir()
    (run.parts / "journal.jsonl").write_text(PRECIOUS)
    assert "damaged" in refused(run)
    assert "journal.jsonl was not created by this program" in refused(run, "--restart")


def test_an_input_in_that_folder_stays(run: Run) -> None:
    run.parts.mkdir()
    write_rows(run.parts / "rows.jsonl", [{"text": "a"}])
    assert "which the run needs for its own files" in refused(run, rows="out.npy.parts/rows.jsonl")


def test_what_somebody_puts_into_that_folder_stays(run: Run, fake: FakeService) -> None:
    interrupted(run, fake)
    (run.parts / "notes.npy").write_text(PRECIOUS)
    assert run("--restart") == 0
    assert everything(run.parts) == {"notes.npy": PRECIOUS.encode()}


def test_an_empty_folder_of_that_name_is_used(run: Run, texts: list[str]) -> None:
    run.parts.mkdir()
    assert run() == 0
    run.check(texts)


@pytest.mark.parametrize("out", ["out.npy", "out.parquet"])
def test_what_the_run_itself_has_written_is_written_anew(
    run: Run, fake: FakeService, texts: list[str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """Killed with its outputs in place, once more than once; nothing is computed again."""

    def killed(folder: Path) -> None:
        raise KilledError

    run.out = out
    with monkeypatch.context() as patch:
        patch.setattr(corpus_run, "forget", killed)
        for _ in range(2):
            with pytest.raises(KilledError):
                run()
    assert run() == 0
    assert sorted(fake.texts) == sorted(texts)
    if out == "out.npy":
        run.check(texts)
    assert not run.parts.exists()


def test_a_file_system_without_hard_links(run: Run, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert run() == 0
    run.check(texts)
    assert run.ids == list(range(ROWS))


@pytest.fixture
def clock(run: Run) -> Clock:
    """Time passes only while the script waits."""
    made = Clock()

    async def sleep(seconds: float) -> None:
        made.now += seconds

    run.connect = partial(Client, clock=made, sleep=sleep)
    return made


@pytest.mark.parametrize("status", [503, 504])
@pytest.mark.parametrize("rows", [1, 8])
def test_patience_is_one_for_a_batch_and_its_halves(
    run: Run, fake: FakeService, clock: Clock, status: int, rows: int
) -> None:
    """Each answer takes 300 s, as one of a service that is stuck does; nothing else waits for one."""

    def late(_: list[str]) -> Response:
        clock.now += 300
        return error(status, "No answer within 300 s.")

    fake.refuse = late
    started = clock.now
    write_rows(run.folder / "one_batch.jsonl", [{"text": "a"}] * rows)
    message = run.fails("--batch", "8", "--patience", "600", rows="one_batch.jsonl", status=2)
    assert f"with status {status}: No answer within 300 s. No request succeeded for 600 s (--patience)." in message
    assert "Run the same command again to resume." in message
    assert 600 <= clock.now - started <= 600 + 2 * 300


def test_a_service_that_does_not_respond_is_given_up(run: Run, clock: Clock) -> None:
    """tests/e2e/test_corpus.py kills one that comes back, and the script."""
    run.fake = FakeService(url=DEAD_ENDPOINT)
    assert "does not respond (ConnectError). No request succeeded for 9 s" in run.fails("--patience", "9", status=2)


def test_a_deadline_that_halves_cure_is_no_end_of_the_patience(
    run: Run, fake: FakeService, texts: list[str], clock: Clock
) -> None:
    def slow(batch: list[str]) -> Response | None:
        clock.now += 100
        return error(504, "No answer.") if len(batch) > 2 else None

    fake.refuse = slow
    assert run("--parallel", "1", "--patience", "250") == 0
    run.check(texts)
