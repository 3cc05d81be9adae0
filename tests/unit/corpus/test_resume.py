"""./embeddings embed goes on after every kind of interruption, with nothing lost and nothing twice."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest

from corpus import journal, parts
from tests.unit.corpus.conftest import ROWS, Run, text
from tests.unit.corpus.corpus_service import FakeService, error

SERIAL = ("--parallel", "1")


class KilledError(BaseException):
    """In place of the end of the process."""


def to_the_script(number: signal.Signals) -> None:
    """A signal to the thread that the script runs in. The system may give one for the whole process to any thread, and
    a thread of a library may not have the stack that it takes."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def journalled(run: Run) -> int:
    """Rows that are done, by the journal."""
    lines = (run.parts / "journal.jsonl").read_text().splitlines()[1:]
    return sum(journal.Part(**json.loads(line)).rows for line in lines)


def interrupted(run: Run, fake: FakeService) -> None:
    """A run that ends in its sixth request."""
    fake.answers = {5: lambda: to_the_script(signal.SIGINT)}
    assert run(*SERIAL) == 130
    fake.answers = {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_cleanly(run: Run, fake: FakeService, texts: list[str], number: signal.Signals) -> None:
    """What was answered before the signal is written though no part was due; the request in flight is given up."""
    fake.answers = {4: lambda: to_the_script(number)}
    message = run.fails(*SERIAL, "--save-every", "60", status=128 + number)
    assert f"Stopped by {number.name}. Run the same command again to resume." in message
    assert 4 * 5 <= journalled(run) <= 5 * 5
    before, asked = journalled(run), len(fake.texts)
    assert f"{before} of {ROWS} rows are done; resuming." in run.fails(status=0)
    run.check(texts)
    assert sorted(fake.texts[asked:]) == sorted(texts[before:])


@pytest.mark.parametrize("out", ["out.npy", "out.parquet"])
def test_killed_at_any_moment_of_writing(run: Run, texts: list[str], monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    """Each time the run gets one step further: every step of writing is where one of the runs ends."""
    real, left = os.fsync, 0

    def fsync(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        real(file)

    run.out = out
    monkeypatch.setattr(os, "fsync", fsync)
    for runs in range(200):  # read behind the loop
        left = 5 + runs % 4
        try:
            if run("--batch", "10") == 0:
                break
        except KilledError:
            continue
    assert 5 < runs < 150
    if out == "out.npy":
        run.check(texts)
    else:
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(run.folder / out)["id"].to_pylist() == list(range(ROWS))


def test_a_line_that_was_not_written_to_its_end_counts_for_nothing(
    run: Run, fake: FakeService, texts: list[str]
) -> None:
    interrupted(run, fake)
    before = journalled(run)
    path = run.parts / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    asked = len(fake.texts)
    assert run() == 0
    run.check(texts)
    assert sorted(fake.texts[asked:]) == sorted(texts[before - 5 :])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "other"), "the options differ (model: None before, other now)"),
        (("--dimensions", "4"), "the options differ (dimensions"),
        (("--input-type", "query"), "the options differ (input_type"),
    ],
)
def test_another_run_is_not_mixed_in(run: Run, fake: FakeService, options: tuple[str, ...], words: str) -> None:
    interrupted(run, fake)
    assert words in run.fails(*options)
    assert run(*options, "--restart") == 0
    assert len(run.vectors) == ROWS


def test_where_nothing_is_finished_everything_may_change(run: Run, fake: FakeService, texts: list[str]) -> None:
    """A model's name with a mistake in it ends the first run; the second needs no --restart."""
    fake.answers = {0: lambda: error(404, "There is no model of that name.")}
    assert run("--model", "mistake", *SERIAL) == 1
    assert run("--model", "right") == 0
    run.check(texts)


def test_a_changed_input_is_not_mixed_in(run: Run, fake: FakeService, texts: list[str]) -> None:
    interrupted(run, fake)
    with (run.folder / "corpus.jsonl").open("a") as file:
        file.write('{"text":"one more"}\n')
    message = run.fails()
    assert "the input has changed (bytes:" in message
    assert "--restart" in message
    assert run("--restart") == 0
    run.check([*texts, "one more"])


def test_an_input_that_changes_meanwhile(run: Run, fake: FakeService) -> None:
    fake.answers = {2: lambda: os.utime(run.folder / "corpus.jsonl", (1, 1))}
    assert "changed during the run" in run.fails()
    assert not (run.folder / run.out).exists()


def test_another_model_behind_the_same_name(run: Run, fake: FakeService) -> None:
    interrupted(run, fake)
    fake.model = "a-new-default"
    assert "now uses a-new-default with 8 dimensions" in run.fails()


def test_how_much_at_once_may_change(run: Run, fake: FakeService, texts: list[str]) -> None:
    interrupted(run, fake)
    assert run("--batch", "7", "--parallel", "4", "--priority", "0") == 0
    run.check(texts)


def test_damaged_parts_are_refused(run: Run, fake: FakeService) -> None:
    interrupted(run, fake)
    part = sorted(run.parts.glob("*.npz"))[1]
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    assert f"{part} is missing or damaged" in run.fails()
    assert not (run.folder / run.out).exists()


def test_two_runs_at_once(run: Run, fake: FakeService, texts: list[str]) -> None:
    second: list[int] = []
    fake.answers = {2: lambda: second.append(run())}
    assert run() == 0
    assert second == [1]
    run.check(texts)


@pytest.mark.parametrize("suffix", [".npz", ".ids.json"])
def test_full_disk(
    run: Run,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    """Full for the fourth part, and later for the output."""
    real: Callable[[int], None] = os.fsync
    count = 0

    def fsync(file: int) -> None:
        nonlocal count
        name = os.readlink(f"/proc/self/fd/{file}")
        count += f"{suffix}.unfinished" in name and ".parts" in name
        if count == 4:
            count += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        message = run.fails()
    assert "No space left on device" in message
    assert "run the same command again" in message
    assert journalled(run) == 15
    assert run() == 0
    run.check(texts)


def test_trailing_wrong_rows_after_a_resume(run: Run, fake: FakeService) -> None:
    path = run.folder / "bad.jsonl"
    path.write_text("".join(f'{{"text":"{text(n) if n % 3 else ""}"}}\n' for n in range(31)))
    fake.answers = {2: lambda: to_the_script(signal.SIGINT)}
    assert run("--skip-bad", *SERIAL, rows="bad.jsonl") == 130
    assert run("--skip-bad", rows="bad.jsonl") == 0
    good = [n for n in range(31) if n % 3]
    run.check([text(n) for n in good])
    assert run.ids == good
    assert np.isfinite(run.vectors).all()
    assert parts.parts_folder(run.folder / run.out).exists() is False
