"""Links, copies and digests."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from models.files import content_revision, copy, digest, link, relative_files
from tests.unit.fakes import write_files


def test_a_link_is_the_same_file_also_behind_a_symbolic_one(tmp_path: Path) -> None:
    """A Hub cache holds links, and a hard link to a link would break with the cache."""
    blob = write_files(tmp_path / "blobs", a_txt="content") / "a.txt"
    (tmp_path / "snapshot.txt").symlink_to(blob)
    for source in (blob, tmp_path / "snapshot.txt"):
        target = tmp_path / "new" / source.name
        link(source, target)
        assert not target.is_symlink()
        assert target.samefile(blob)


def test_another_file_system_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = write_files(tmp_path / "source", a_txt="content") / "a.txt"
    link(source, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "content"


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    source = write_files(tmp_path / "source", a_txt="content") / "a.txt"
    copy(source, tmp_path / "new" / "a.txt")
    with source.open("r+") as file:  # in place, as an editor or a second download may do it
        file.write("CHANGED")
    assert (tmp_path / "new" / "a.txt").read_text() == "content"
    assert (tmp_path / "new" / "a.txt").stat().st_ino != source.stat().st_ino


def test_a_copy_shares_blocks_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def clone(_target: object, request: int, _origin: int) -> int:
        asked.append(request)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    copy(write_files(tmp_path, a_txt="content") / "a.txt", tmp_path / "b.txt")
    assert asked == [0x40049409]  # FICLONE of linux/fs.h
    assert (tmp_path / "b.txt").read_text() == ""  # nothing was copied beside it


def test_a_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    path = write_files(tmp_path, a_txt="content") / "a.txt"
    said = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert digest(path) == said


def test_a_content_revision_follows_names_and_contents_only(tmp_path: Path) -> None:
    first = write_files(tmp_path / "first", a_txt="content", b_txt="more")
    second = write_files(tmp_path / "second", a_txt="content", b_txt="more")
    (second / ".gitattributes").write_text("hidden files do not count")
    assert relative_files(first) == ["a.txt", "b.txt"]
    assert content_revision(first) == content_revision(second)
    assert content_revision(first).startswith("local-")
    (second / "b.txt").write_text("changed")
    assert content_revision(first) != content_revision(second)
    assert content_revision(write_files(tmp_path / "third", b_txt="content", a_txt="more")) != content_revision(first)
