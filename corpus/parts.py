"""Finished rows on disk: a folder of parts beside the output; parts are written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from corpus.client import Answer
from corpus.columns import Arrays, are_valid, concatenate, count, size, widths
from corpus.finished import PREFIX
from corpus.journal import PART, Journal, Part, sync_folder
from corpus.problems import CorpusError
from corpus.rows import Id

PART_BYTES = 8 * 2**20
"""Size of the outputs at which a part is written."""


def parts_folder(out: Path) -> Path:
    """The folder for the parts of an output until it is finished."""
    return out.with_name(out.name + ".parts")


def forget(folder: Path) -> None:
    """Delete a run's files in its folder. The journal goes first, so that a kill cannot leave it without its parts.

    Other files stay.
    """
    journal = folder / "journal.jsonl"
    if journal.exists():
        journal.unlink()
        sync_folder(folder)
    for path in folder.iterdir():
        if path.name.startswith(PREFIX) or PART.fullmatch(path.name):
            path.unlink()
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a part's file, which gets its name once it is complete and flushed to disk; on failure nothing remains."""
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@dataclass
class PartWriter:
    """Collects answers in input order and writes them as parts."""

    folder: Path
    journal: Journal
    save_s: float
    """Maximum time between two parts, and thus the work that a kill may cost."""
    _answers: list[Answer] = field(default_factory=list)
    _ids: list[Id] = field(default_factory=list)
    _stop: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(self, answer: Answer, ids: list[Id], stop: int) -> None:
        """Add the answer for a batch; `stop` is the number of the next input row."""
        self._check_model(answer)
        self._answers.append(answer)
        self._ids += ids
        self._stop = stop

    @property
    def due(self) -> bool:
        """Whether the collected answers should be written now."""
        collected = sum(size(answer.arrays) for answer in self._answers)
        return collected >= PART_BYTES or (collected > 0 and time.monotonic() - self._since >= self.save_s)

    def write(self) -> None:
        """Write the collected answers, if any, as a part and record it in the journal."""
        now = time.monotonic()
        if not self._answers:
            return
        arrays = concatenate([answer.arrays for answer in self._answers])
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        first = self.journal.stop
        contents = {f"{first:012}.npz": buffer.getvalue(), f"{first:012}.ids.json": orjson.dumps(self._ids)}
        for name, content in contents.items():
            with whole_file(self.folder / name) as file:
                file.write(content)
        self.journal.append(
            Part(
                first=first,
                stop=self._stop,
                rows=count(arrays),
                widths=widths(arrays),
                model=self._answers[0].model,
                tokens=sum(answer.tokens for answer in self._answers),
                truncated=sum(answer.truncated for answer in self._answers),
                seconds=round(now - self._since, 3),
                sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
            )
        )
        self._answers, self._ids, self._since = [], [], now

    def _check_model(self, answer: Answer) -> None:
        """Raise CorpusError if the model or its dimensions differ from those of earlier answers."""
        if self.journal.parts:
            earlier = (self.journal.parts[0].model, self.journal.parts[0].widths)
        elif self._answers:
            earlier = (self._answers[0].model, widths(self._answers[0].arrays))
        else:
            return
        if earlier != (now := (answer.model, widths(answer.arrays))):
            raise CorpusError(
                f"The service now uses {_described(*now)}; earlier rows used {_described(*earlier)}. Name the model "
                "with --model, or start over with --restart."
            )


def _described(model: str, found: dict[str, int]) -> str:
    return f"{model} with {' and '.join(map(str, found.values()))} dimensions" if found else model


def read_part(folder: Path, part: Part) -> tuple[Arrays, list[Id]]:
    """The arrays and ids of a part; CorpusError if they are missing or damaged."""
    contents: dict[str, bytes] = {}
    for name, digest in part.sha256.items():
        try:
            contents[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            contents[name] = b""
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise CorpusError(f"{folder / name} is missing or damaged. Start over with --restart.")
    first, second = contents.values()
    arrays: Arrays = dict(np.load(io.BytesIO(first), allow_pickle=False))
    ids: list[Id] = orjson.loads(second)
    if (count(arrays), widths(arrays)) != (part.rows, part.widths) or len(ids) != part.rows or not are_valid(arrays):
        raise CorpusError(f"{folder}: rows {part.first} to {part.stop - 1} are damaged. Start over with --restart.")
    return arrays, ids
