"""Why a run ends early; the message says what to do, the status is the exit status.

CorpusError 1           the input, the options, the disk or the answer has to change first
├── GaveUpError 2       the service did not answer for too long
└── StoppedError 130    SIGINT (143: SIGTERM)
"""

from __future__ import annotations


class CorpusError(Exception):
    """The run cannot go on as it is."""

    status = 1


class GaveUpError(CorpusError):
    """The service may come back: the same command goes on."""

    status = 2


class StoppedError(CorpusError):
    """Somebody sent a signal: the same command goes on."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number
