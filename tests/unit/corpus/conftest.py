"""A corpus, a service for it, and the script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cli import embed
from corpus.client import Client
from tests import command_line
from tests.serving import InProcess
from tests.unit.corpus.corpus_service import FakeService, Port, vector_of

ROWS = 50


@dataclass
class Run:
    """One run of the script over `corpus.jsonl`, in this process; every batch becomes a part."""

    folder: Path
    fake: FakeService
    capsys: pytest.CaptureFixture[str]
    out: str = "out.npy"
    connect: Callable[..., Client] = Client

    def __call__(self, *more: str, rows: str = "corpus.jsonl") -> int:
        fixed = ["--out", str(self.folder / self.out), "--url", self.fake.url, "--batch", "5", "--save-every", "0"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embed, "Client", self.connect)
            return command_line.run("embed", "--file", self.folder / rows, *fixed, *more)

    def fails(self, *more: str, rows: str = "corpus.jsonl", status: int = 1) -> str:
        """A run that ends with this status; what it writes to stderr."""
        self.capsys.readouterr()
        assert self(*more, rows=rows) == status
        return self.capsys.readouterr().err

    @property
    def parts(self) -> Path:
        return self.folder / f"{self.out}.parts"

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The finished output."""
        vectors: NDArray[np.float32] = np.load(self.folder / self.out)
        return vectors

    @property
    def ids(self) -> list[int | str]:
        return [json.loads(line) for line in (self.folder / "out.ids.jsonl").read_text().splitlines()]

    @property
    def bad(self) -> list[dict[str, object]]:
        """The list of the rows that were left out."""
        return [json.loads(line) for line in (self.folder / "out.npy.bad.jsonl").read_text().splitlines()]

    def check(self, texts: list[str]) -> None:
        """Exactly these texts' vectors, in this order, and nothing left over."""
        np.testing.assert_array_equal(self.vectors, np.stack([vector_of(text) for text in texts]))
        assert not self.parts.exists()


def text(number: int) -> str:
    return f"row {number} of the corpus"


def write_rows(path: Path, rows: list[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def port() -> Iterator[Port]:
    """A server for all tests: starting one takes longer than most of them."""
    port = Port()
    with InProcess(port) as server:
        port.url = server.url
        yield port


@pytest.fixture
def fake(port: Port) -> FakeService:
    """The service that the port shows now."""
    port.fake = FakeService(url=port.url)
    return port.fake


@pytest.fixture
def texts() -> list[str]:
    return [text(number) for number in range(ROWS)]


@pytest.fixture
def run(tmp_path: Path, fake: FakeService, texts: list[str], capsys: pytest.CaptureFixture[str]) -> Run:
    write_rows(tmp_path / "corpus.jsonl", [{"text": each, "sku": f"s{n}"} for n, each in enumerate(texts)])
    return Run(tmp_path, fake, capsys)


@pytest.fixture
def waits(run: Run) -> list[float]:
    """Waiting before another try takes no time; how long each would have taken."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.sleep(0)

    run.connect = partial(Client, sleep=sleep)
    return asked
