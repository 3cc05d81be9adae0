"""The memory budget of a device: models take a part of it, and forward passes share the rest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errors import InputTooLongError, ModelUnavailableError
from runners.contracts import BatchShape

_RETRY_S = 5


class DeviceMemory:
    """The budget of one process on one device, in bytes; 0 means no limit. Thread-safe."""

    def __init__(self, budget: int = 0) -> None:
        self.budget = budget
        self._models = 0
        self._passes = 0
        self._changed = threading.Condition()

    @property
    def models(self) -> int:
        """Bytes that the loaded models take."""
        return self._models

    @models.setter
    def models(self, size: int) -> None:
        with self._changed:
            self._models = size
            self._changed.notify_all()

    @property
    def passes(self) -> int:
        """Bytes reserved by running passes."""
        return self._passes

    @property
    def available(self) -> int:
        """Bytes that the models leave for passes."""
        return max(0, self.budget - self._models)

    def reserve(self, needed: int) -> bool:
        """Wait until the running passes leave `needed` bytes, and reserve them; False if a pass alone does not fit."""
        with self._changed:
            while self.budget:
                if needed > self.available:
                    return False
                if self._passes + needed <= self.available:
                    break
                self._changed.wait()
            self._passes += needed
        return True

    def release(self, size: int) -> None:
        """Release bytes of `reserve`."""
        with self._changed:
            self._passes -= size
            self._changed.notify_all()


class Reservation:
    """The memory of one pass; released early if the pass hangs and is abandoned."""

    def __init__(self, device: DeviceMemory, size: int) -> None:
        self._device = device
        self._size = size
        self._lock = threading.Lock()

    def release(self) -> None:
        """Release the memory; further calls do nothing."""
        with self._lock:
            size, self._size = self._size, 0
        if size:
            self._device.release(size)


@dataclass(frozen=True)
class PassMemory:
    """The share of one model's passes in the device's memory."""

    device: DeviceMemory
    pass_bytes: Callable[[BatchShape], int]
    """Upper bound of the bytes that a pass takes in addition to the weights."""
    model_bytes: int = 0
    """Bytes that the model takes."""
    included_bytes: int = 0
    """The part of them that is for passes: a pass that takes no more needs no reservation."""

    def check(self, longest: int) -> None:
        """Raise `error` for a text of `longest` tokens that can never fit, before it is queued."""
        size = BatchShape.of([longest])
        if self.device.budget and self._needed(size) > self.device.available:
            raise self.error(size)

    @contextlib.contextmanager
    def reserved(self, size: BatchShape) -> Iterator[Reservation]:
        """Wait for memory for one pass, and hold it while the block runs; raises `error` if it can never fit."""
        needed = self._needed(size)
        if not self.device.reserve(needed):
            raise self.error(size)
        reservation = Reservation(self.device, needed)
        try:
            yield reservation
        finally:
            reservation.release()

    def error(self, size: BatchShape) -> InputTooLongError | ModelUnavailableError:
        """InputTooLongError if a pass cannot fit beside this model alone, ModelUnavailableError if it could."""
        budget = self.device.budget
        left = self.device.available + self.included_bytes
        alone = max(0, budget - self.model_bytes + self.included_bytes)
        needed = self.pass_bytes(size)
        what = (
            f"An input of {size.longest} tokens needs about {needed / 1e9:.2g} GB for its forward pass on this machine"
        )
        limit = f"of the memory budget of {budget / 1e9:.2g} GB (MEMORY_FRACTION)"
        if needed > alone:
            return InputTooLongError(
                f"{what}; the model leaves {alone / 1e9:.2g} GB {limit}. "
                "Send a shorter input, or run the service on a machine with more memory."
            )
        return ModelUnavailableError(
            f"{what}; the models in memory leave {left / 1e9:.2g} GB {limit}. "
            "Try again later, send a shorter input, or unload a model.",
            retry_after_s=_RETRY_S,
        )

    def _needed(self, size: BatchShape) -> int:
        return max(0, self.pass_bytes(size) - self.included_bytes) if self.device.budget else 0


def unlimited_memory() -> PassMemory:
    """Memory for a model whose passes are not limited."""
    return PassMemory(DeviceMemory(), lambda _: 0)
