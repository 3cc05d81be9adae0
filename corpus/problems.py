"""Errors that end a run; the message says what to do, `status` is the exit status.

CorpusError 1           the input, the options, the disk or the service must be changed first
├── GaveUpError 2       no request succeeded for too long
└── StoppedError 130    SIGINT (143: SIGTERM)
"""

from __future__ import annotations


class CorpusError(Exception):
    """The run cannot continue."""

    status = 1


class GaveUpError(CorpusError):
    """The service did not respond; the same command resumes the run."""

    status = 2


class StoppedError(CorpusError):
    """A signal stopped the run; the same command resumes it."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number
