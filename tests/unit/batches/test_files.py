"""Files: their objects, pages, expiry, and what hostile ids may reach."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from batches.files import DAY_S
from batches.objects import is_id
from errors import ObjectNotFoundError
from tests.unit.batches.process import AGE_S, Process


def test_a_file_as_at_openai(process: Process) -> None:
    made = process.upload(b"content")
    assert is_id(made["id"], "file-")
    assert (
        made
        == process.files.get(made["id"])
        == {
            "id": made["id"],
            "object": "file",
            "bytes": 7,
            "created_at": 1000,
            "expires_at": 1000 + AGE_S,
            "filename": "requests.jsonl",
            "purpose": "batch",
            "status": "processed",
        }
    )
    assert process.files.content(made["id"]).read_bytes() == b"content"


def test_an_upload_that_is_not_published_leaves_nothing(process: Process) -> None:
    with process.files.draft() as draft:
        draft.write(b"half")
    assert process.files.page(limit=10) == ([], False)
    assert list((process.folder / "files").iterdir()) == []


def test_a_full_disk_leaves_nothing(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        process.upload(b"content")
    assert list((process.folder / "files").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "stored"),
    [("a.jsonl", "a.jsonl"), ("", "file"), ("\0\n", "file"), ("日本語.jsonl", "日本語.jsonl"), ("a" * 999, "a" * 255)],
)
def test_names_are_only_shown(process: Process, given: str, stored: str) -> None:
    with process.files.draft() as draft:
        made = process.files.publish(Path(draft.name), given, process.files.new_id())
    assert made["filename"] == stored


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "file-",
        "../files",
        "file-../../etc/passwd",
        "file-" + "0" * 31 + "\n",
        "file-" + "A" * 32,
        "batch_" + "0" * 32,
    ],
)
def test_other_ids_are_no_paths(process: Process, hostile: str) -> None:
    for call in (process.files.get, process.files.content, process.files.delete):
        with pytest.raises(ObjectNotFoundError):
            call(hostile)


def test_a_deleted_file_is_gone(process: Process) -> None:
    file_id = process.upload(b"content")["id"]
    process.files.delete(file_id)
    with pytest.raises(ObjectNotFoundError):
        process.files.get(file_id)
    assert list((process.folder / "files").iterdir()) == []


def test_pages_are_newest_first_and_continue_behind_an_id(process: Process) -> None:
    ids = []
    for _ in range(5):
        ids.append(process.upload(b"content")["id"])
        process.clock.now += 1
    newest_first = ids[::-1]
    page, more = process.files.page(limit=2)
    assert ([each["id"] for each in page], more) == (newest_first[:2], True)
    process.files.delete(newest_first[1])  # the next page does not need it
    page, more = process.files.page(limit=3, after=newest_first[1])
    assert ([each["id"] for each in page], more) == (newest_first[2:], False)
    page, _ = process.files.page(limit=2, after=ids[0], ascending=True)
    assert [each["id"] for each in page] == ids[1:3]
    assert process.files.page(limit=5, purpose="batch_output") == ([], False)


def test_files_expire(process: Process) -> None:
    kept = process.upload(b"content")["id"]
    with process.files.draft() as draft:
        short = process.files.publish(Path(draft.name), "a", process.files.new_id(), "batch", 3600)["id"]
    process.clock.now += 3600
    with pytest.raises(ObjectNotFoundError):
        process.files.get(short)
    process.files.clean()
    assert {path.stem for path in (process.folder / "files").iterdir()} == {kept}
    process.clock.now += AGE_S
    assert process.files.page(limit=5) == ([], False)


def test_leftovers_are_deleted_after_a_day(process: Process) -> None:
    (process.folder / "files" / ".0.draft").touch()
    (process.folder / "files" / "file-0.jsonl").touch()
    written_at = (process.folder / "files" / ".0.draft").stat().st_mtime
    process.clock.now = written_at + DAY_S - 60
    process.files.clean()
    assert len(list((process.folder / "files").iterdir())) == 2
    process.clock.now = written_at + DAY_S + 60
    process.files.clean()
    assert list((process.folder / "files").iterdir()) == []


def test_a_damaged_object_is_no_file(process: Process) -> None:
    made = process.upload(b"content")
    (process.folder / "files" / f"{made['id']}.json").write_bytes(b'{"id":')
    assert process.files.page(limit=5) == ([], False)
