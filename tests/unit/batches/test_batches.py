"""Batches from their creation to their end: statuses, answers, restarts, cancellation, expiry, several processes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable

import pytest

from batches import running
from batches.objects import BATCH
from batches.results import Results
from batches.running import Computed
from batches.store import LeasedBatch
from errors import InvalidRequestError, ObjectNotFoundError
from tests.unit.batches.process import AGE_S, ENDPOINT, Process, jsonl, request

MANY = [f"line {number}" for number in range(300)]


class Stopped(BaseException):
    """Ends a process in the middle of its work."""


async def test_a_batch_completes(process: Process) -> None:
    batch = process.create(jsonl(request("a"), request("bad"), request("b")))
    assert (batch["status"], batch["request_counts"]["total"]) == ("validating", 0)
    assert batch["expires_at"] == batch["created_at"] + 86_400
    assert await process.run()
    ended = process.batches.get(batch["id"])
    BATCH.validate_python(ended, strict=True)
    assert ended["status"] == "completed"
    assert ended["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert ended["in_progress_at"] == ended["finalizing_at"] == ended["completed_at"] == 1000
    assert ended["failed_at"] is ended["expired_at"] is ended["cancelling_at"] is ended["cancelled_at"] is None
    assert sorted(process.answered(ended["output_file_id"])) == ["a", "b"]
    (bad,) = process.lines(ended["error_file_id"])
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"] == {"for": "bad"}
    assert process.files.get(str(ended["output_file_id"]))["purpose"] == "batch_output"
    assert not await process.run()


async def test_without_errors_there_is_no_error_file(process: Process) -> None:
    batch_id = process.create(jsonl(request("a")))["id"]
    await process.run()
    assert process.batches.get(batch_id)["error_file_id"] is None


async def test_a_wrong_input_file_fails_the_batch(process: Process) -> None:
    batch_id = process.create(jsonl(request("a"), request("a")))["id"]
    assert await process.run()
    ended = process.batches.get(batch_id)
    BATCH.validate_python(ended, strict=True)
    assert (ended["status"], ended["failed_at"]) == ("failed", 1000)
    assert ended["errors"] is not None
    assert [problem["code"] for problem in ended["errors"]["data"]] == ["duplicate_custom_id"]
    assert process.computed == []
    assert not await process.run()


async def test_the_input_file_may_be_deleted_once_the_batch_is_created(process: Process) -> None:
    batch = process.create(jsonl(request("a")))
    process.files.delete(batch["input_file_id"])
    await process.run()
    assert process.batches.get(batch["id"])["status"] == "completed"


async def test_many_lines_are_each_computed_once(process: Process) -> None:
    batch_id = process.create(jsonl(*map(request, MANY)))["id"]
    await process.run()
    ended = process.batches.get(batch_id)
    assert Counter(process.computed) == Counter(process.answered(ended["output_file_id"])) == Counter(MANY)


async def test_no_more_lines_are_computed_at_once_than_the_limits_allow(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_LINES_AT_ONCE", 5)
    at_once, most = 0, 0

    async def compute(custom_id: str) -> Computed:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await process.answer(custom_id)

    process.compute = compute
    process.create(jsonl(*map(request, MANY[:50])))
    await process.run()
    assert most == 5


@pytest.mark.parametrize("limit", ["_BYTES_AT_ONCE", "_TEXTS_AT_ONCE"])
async def test_a_line_beyond_a_limit_is_computed_alone(
    process: Process, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(running, limit, 1)
    process.create(jsonl(*map(request, MANY[:5])))
    await process.run()
    assert process.computed == MANY[:5]


async def stop_after(process: Process, count: int) -> None:
    """Run the next batch in a process that ends once it has answered `count` lines."""

    async def compute(custom_id: str) -> Computed:
        if len(process.computed) >= count:
            await asyncio.Event().wait()
        return await process.answer(custom_id)

    process.compute = compute
    task = asyncio.create_task(process.run())
    await happens(lambda: len(process.computed) >= count and written(process) >= count)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def written(process: Process) -> int:
    """The number of responses that running batches have written."""
    return sum(path.read_bytes().count(b"\n") for path in (process.folder / "batches").glob("*/output.jsonl"))


async def happens(event: Callable[[], bool]) -> None:
    """Wait until something is true that does not report itself, as it happens on another thread."""
    while not event():  # noqa: ASYNC110  # see above
        await asyncio.sleep(0)


@pytest.mark.parametrize("count", [0, 1, 100, 299])
async def test_a_restarted_process_computes_only_the_rest(process: Process, count: int) -> None:
    batch_id = process.create(jsonl(*map(request, MANY)))["id"]
    await stop_after(process, count)
    restarted = Process(process.folder, process.clock)
    assert restarted.batches.get(batch_id)["status"] in ("validating", "in_progress")
    assert await restarted.run()
    assert Counter(process.computed + restarted.computed) == Counter(MANY)
    ended = restarted.batches.get(batch_id)
    assert ended["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
    assert Counter(restarted.answered(ended["output_file_id"])) == Counter(MANY)


@pytest.mark.parametrize("step", ["the status", "the output file", "the error file"])
async def test_a_process_that_ends_while_it_publishes(
    process: Process, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    batch_id = process.create(jsonl(request("a"), request("bad")))["id"]
    publish, calls = process.files.publish, []

    def stop(*arguments: object) -> object:
        calls.append(arguments)
        if step == "the status" or (step == "the error file" and len(calls) == 2):
            raise Stopped
        made = publish(*arguments)  # type: ignore[arg-type]
        if step == "the output file":
            raise Stopped
        return made

    monkeypatch.setattr(process.files, "publish", stop)
    with pytest.raises(Stopped):
        await process.run()
    assert process.batches.get(batch_id)["output_file_id"] is None  # not before it is published
    restarted = Process(process.folder, process.clock)
    await restarted.run()
    ended = restarted.batches.get(batch_id)
    assert ended["status"] == "completed"
    assert restarted.answered(ended["output_file_id"]) == ["a"]
    assert restarted.answered(ended["error_file_id"]) == ["bad"]
    assert restarted.computed == []


async def test_a_batch_is_run_by_one_process_at_a_time(process: Process) -> None:
    first, second = (process.create(jsonl(request(name)))["id"] for name in ("a", "b"))
    other = Process(process.folder, process.clock)
    with process.batches.lease(first) as leased:
        assert leased is not None
        assert await other.run()
        assert other.computed == ["b"]
        assert not await other.run()
    assert other.batches.get(second)["status"] == "completed"
    assert await other.run()
    assert other.computed == ["b", "a"]


def test_a_batch_that_cannot_be_stored_leaves_nothing(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    file = process.upload(jsonl(request("a")))
    monkeypatch.setattr(os, "replace", _fail)
    with pytest.raises(OSError, match="Input/output"):
        process.batches.create(ENDPOINT, input_file_id=file["id"], content=process.files.content(file["id"]))
    assert list((process.folder / "batches").iterdir()) == []


async def test_a_process_runs_only_the_endpoints_that_it_serves(process: Process) -> None:
    process.service.runner._endpoints = ["/v1/rerank"]
    process.create(jsonl(request("a")))
    assert not await process.run()
    process.create(jsonl(request("b", url="/v1/rerank")), "/v1/rerank")
    assert await process.run()
    assert process.computed == ["b"]


async def test_a_request_that_is_refused_for_now_is_tried_again(process: Process) -> None:
    async def compute(custom_id: str) -> Computed:
        if len(process.computed) < 2:
            return Computed(custom_id, 429, b"{}", retry_after_s=7)
        return await process.answer(custom_id)

    process.compute = compute
    batch_id = process.create(jsonl(request("a")))["id"]
    await process.run()
    assert process.naps == [7, 7]
    assert process.batches.get(batch_id)["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


async def test_a_cancelled_batch_keeps_its_answers(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LINES_AT_ONCE", 1)
    batch_id = process.create(jsonl(*map(request, MANY)))["id"]
    other = Process(process.folder, process.clock)

    async def compute(custom_id: str) -> Computed:
        if custom_id == MANY[2]:
            assert other.batches.cancel(batch_id)["status"] == "cancelling"
            assert other.batches.cancel(batch_id)["status"] == "cancelling"
        return await process.answer(custom_id)

    process.compute = compute
    assert await process.run()
    ended = process.batches.get(batch_id)
    assert ended["status"] == other.batches.cancel(batch_id)["status"] == "cancelled"
    assert ended["cancelling_at"] is not None
    assert ended["cancelled_at"] == 1000
    assert ended["error_file_id"] is None
    assert process.answered(ended["output_file_id"]) == process.computed == MANY[:3]
    assert ended["request_counts"] == {"total": 300, "completed": 3, "failed": 0}


async def test_a_batch_that_is_cancelled_before_it_runs(process: Process) -> None:
    batch_id = process.create(jsonl(request("a")))["id"]
    process.batches.cancel(batch_id)
    await process.run()
    ended = process.batches.get(batch_id)
    assert (ended["status"], ended["output_file_id"], process.computed) == ("cancelled", None, [])


async def test_a_batch_that_has_ended_cannot_be_cancelled(process: Process) -> None:
    batch_id = process.create(jsonl(request("a")))["id"]
    await process.run()
    with pytest.raises(InvalidRequestError, match="completed"):
        process.batches.cancel(batch_id)


async def test_lines_that_are_not_computed_in_time_expire(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LINES_AT_ONCE", 1)

    async def compute(custom_id: str) -> Computed:
        if custom_id == "b":
            process.clock.now += 86_400
        return await process.answer(custom_id)

    process.compute = compute
    batch_id = process.create(jsonl(*map(request, "abcd")))["id"]
    await process.run()
    ended = process.batches.get(batch_id)
    assert (ended["status"], ended["expired_at"]) == ("expired", 1000 + 86_400)
    assert process.answered(ended["output_file_id"]) == ["a", "b"]
    late = process.lines(ended["error_file_id"])
    assert [(line["custom_id"], line["error"]["code"]) for line in late] == [
        ("c", "batch_expired"),
        ("d", "batch_expired"),
    ]
    assert ended["request_counts"] == {"total": 4, "completed": 2, "failed": 2}


async def test_a_line_that_kills_its_process_is_left_out(process: Process) -> None:
    batch_id = process.create(jsonl(*map(request, MANY)))["id"]
    deadly = MANY[40]

    async def run() -> None:
        """Run the batch in a process that is killed by one line: nothing of it runs afterwards."""
        alive = Process(process.folder, process.clock)

        async def compute(custom_id: str) -> Computed:
            if custom_id == deadly:
                raise Stopped
            return await alive.answer(custom_id)

        alive.compute = compute
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LeasedBatch, "pause", lambda _: None)
            await alive.run()

    for _ in range(3):
        with pytest.raises((Stopped, BaseExceptionGroup)):
            await run()
    await run()
    ended = process.batches.get(batch_id)
    assert ended["status"] == "completed"
    assert ended["request_counts"] == {"total": 300, "completed": 299, "failed": 1}
    (left_out,) = process.lines(ended["error_file_id"])
    assert (left_out["custom_id"], left_out["error"]["code"]) == (deadly, "process_killed")
    assert Counter(process.answered(ended["output_file_id"])) == Counter(set(MANY) - {deadly})


async def test_a_full_disk_is_waited_for(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    add, failures = Results.add, [errno.ENOSPC, errno.EDQUOT]

    def full(*arguments: object) -> None:
        if failures:
            raise OSError(failures.pop(), "full")
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Results, "add", full)
    batch_id = process.create(jsonl(request("a")))["id"]
    await process.run()
    assert len(process.naps) == 2
    assert process.computed == ["a"]
    assert process.batches.get(batch_id)["status"] == "completed"


async def test_another_failure_of_the_disk_ends_the_run_and_the_next_one_continues(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = process.create(jsonl(request("a")))["id"]
    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", _fail)
        with pytest.RaisesGroup(OSError):
            await process.run()
    assert await process.run()
    assert process.batches.get(batch_id)["status"] == "completed"


def _fail(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_pages_are_newest_first(process: Process) -> None:
    ids = []
    for _ in range(3):
        ids.append(process.create(jsonl(request("a")))["id"])
        process.clock.now += 1
    page, more = process.batches.page(limit=2)
    assert ([batch["id"] for batch in page], more) == (ids[:0:-1], True)
    page, more = process.batches.page(limit=2, after=ids[1])
    assert ([batch["id"] for batch in page], more) == (ids[:1], False)


@pytest.mark.parametrize("hostile", ["", "../batches", "batch_" + "/" * 32, "file-" + "0" * 32, "batch_" + "0" * 32])
async def test_other_ids_are_no_paths(process: Process, hostile: str) -> None:
    for call in (process.batches.get, process.batches.cancel):
        with pytest.raises(ObjectNotFoundError):
            call(hostile)


async def test_batches_are_deleted_after_their_age_once_they_have_ended(process: Process) -> None:
    ended = process.create(jsonl(request("a")))["id"]
    await process.run()
    process.clock.now += AGE_S
    open_id = process.create(jsonl(request("b")))["id"]
    leftover = process.folder / "batches" / ".draft-0"
    leftover.mkdir()
    process.batches.clean()
    assert [batch["id"] for batch in process.batches.page(limit=9)[0]] == [open_id]
    assert leftover.exists()
    process.clock.now = leftover.stat().st_mtime + 2 * 86_400
    process.batches.clean()
    assert not leftover.exists()
    with pytest.raises(ObjectNotFoundError):
        process.batches.get(ended)


async def test_the_loop_survives_errors_and_finds_new_batches(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a-user's-own-words"
    failures = [ValueError(secret)]
    run_next = process.service.runner.run_next

    async def fail_first() -> bool:
        if failures:
            raise failures.pop()
        return await run_next()

    monkeypatch.setattr(process.service.runner, "run_next", fail_first)
    monkeypatch.setattr("batches.runner._POLL_S", 0.001)
    loop = asyncio.create_task(process.service.runner.run())
    batch_id = process.create(jsonl(request("a")))["id"]
    process.service.runner.wake()
    await happens(lambda: process.batches.get(batch_id)["status"] == "completed")
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert "ValueError" in caplog.text
    assert secret not in caplog.text


async def test_what_a_batch_leaves_on_disk(process: Process) -> None:
    batch_id = process.create(jsonl(request("a")))["id"]
    await process.run()
    left = {path.name for path in (process.folder / "batches" / batch_id).iterdir()}
    assert left == {"batch.json", "errors.jsonl", "lease"}


async def test_a_cancellation_is_not_lost_when_a_line_is_done_at_the_same_time() -> None:
    """SIGTERM would not end the process."""
    window = running._Window()
    waiting = asyncio.create_task(window.change(60))
    await asyncio.sleep(0)
    window._changed.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
