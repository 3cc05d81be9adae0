"""Progress output (a bar on a terminal, else lines), and measurement of how busy the engine is."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from corpus.client import Client

_LINE_S = 30.0
_SAMPLE_S = 5.0


class Progress:
    """Shows finished and total rows on standard error."""

    def __init__(
        self, what: str, *, done: int = 0, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._what, self._done, self._total, self._new, self._tokens = what, done, total, 0, 0
        self._started = self._line = clock()
        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(desc=what, unit=" rows", initial=done, total=total, disable=not on_terminal, unit_scale=True)
        self._lines = not on_terminal

    def add(self, rows: int, tokens: int = 0) -> None:
        """Count finished rows."""
        self._new += rows
        self._tokens += tokens
        if not self._lines:
            if self._tokens:
                self._bar.set_postfix_str(f"{self._tokens / self._elapsed():,.0f} tokens/s", refresh=False)
            self._bar.update(rows)
        elif self._clock() - self._line >= _LINE_S:
            self._line = self._clock()
            self.say(self.line())

    def line(self) -> str:
        """The progress as text."""
        rate, done = self._new / self._elapsed(), self._done + self._new
        if self._total is None:
            return f"{self._what}: {done:,} rows, {rate:,.0f} rows/s"
        left = duration((self._total - done) / rate) if rate else "unknown time"
        share = f"{done / max(1, self._total):.1%}"
        rates = f"{rate:,.0f} rows/s, {self._tokens / self._elapsed():,.0f} tokens/s"
        return f"{self._what}: {done:,} of {self._total:,} rows ({share}), {rates}, {left} left"

    def say(self, text: str) -> None:
        """Print a message above the bar."""
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """Close the bar; without a bar, print the final progress."""
        self._bar.close()
        if self._lines and self._new:
            self.say(self.line())

    def _elapsed(self) -> float:
        return max(self._clock() - self._started, 1e-6)


def duration(seconds: float) -> str:
    """Format a duration: 42 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass
class Busy:
    """The share of time in which the engine computed while the service was up."""

    compute_s: float = 0.0
    elapsed_s: float = 0.0
    _last: tuple[float, float] | None = None

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None if the service's metrics could not be read."""
        return min(1.0, self.compute_s / self.elapsed_s) if self.elapsed_s else None

    def note(self, compute_s: float | None, now: float) -> None:
        """Record a reading of the service's counter.

        A lower reading than the last one means that the service was restarted; while it is 0 the model is loading.
        """
        if compute_s is None:
            self._last = None
            return
        if self._last is not None and compute_s >= self._last[0] > 0:
            self.compute_s += compute_s - self._last[0]
            self.elapsed_s += now - self._last[1]
        self._last = (compute_s, now)

    async def watch(self, client: Client) -> None:
        """Read the counter periodically, until cancelled."""
        while True:
            self.note(await client.compute_seconds(), time.monotonic())
            await asyncio.sleep(_SAMPLE_S)
