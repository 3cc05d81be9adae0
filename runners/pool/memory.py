"""The memory budget of a device: models hold a part of it, and forward passes share the rest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from errors import InputTooLongError, ModelUnavailableError
from runners.contracts import BatchShape

_RETRY_S = 5


class DeviceMemory:
    """The budget of one process on one device, in bytes; 0 is without limit. Thread-safe."""

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
    def models(self, taken: int) -> None:
        with self._changed:
            self._models = taken
            self._changed.notify_all()

    @property
    def passes(self) -> int:
        """Bytes that the running passes take beside the models."""
        return self._passes

    @property
    def room(self) -> int:
        """Bytes that the models leave to passes."""
        return max(0, self.budget - self._models)

    def take(self, needed: int) -> bool:
        """Wait until the passes that run leave room for another one, and take it; False where it does not fit alone."""
        with self._changed:
            while self.budget:
                if needed > self.room:
                    return False
                if self._passes + needed <= self.room:
                    break
                self._changed.wait()
            self._passes += needed
        return True

    def give_back(self, taken: int) -> None:
        """End a pass for which `take` was called."""
        with self._changed:
            self._passes -= taken
            self._changed.notify_all()


class Reservation:
    """Memory of one pass; may be released early, where a pass that hangs is given up."""

    def __init__(self, device: DeviceMemory, taken: int) -> None:
        self._device = device
        self._taken = taken
        self._lock = threading.Lock()

    def release(self) -> None:
        """Give the memory back, once."""
        with self._lock:
            taken, self._taken = self._taken, 0
        if taken:
            self._device.give_back(taken)


@dataclass(frozen=True)
class PassMemory:
    """What the passes of one model take of the device's memory."""

    device: DeviceMemory
    pass_bytes: Callable[[BatchShape], int]
    """Upper bound of what a pass takes beside the weights."""
    model_bytes: int = 0
    """What the model takes."""
    included_bytes: int = 0
    """The part of it that is meant for passes: one that takes no more needs nothing else."""

    def check(self, longest: int) -> None:
        """Refuse a text of `longest` tokens that could not be computed, before it waits; see `refusal`."""
        size = BatchShape.of([longest])
        if self.device.budget and self._needed(size) > self.device.room:
            raise self.refusal(size)

    @contextlib.contextmanager
    def reserved(self, size: BatchShape) -> Iterator[Reservation]:
        """Memory for one pass, once those of other models leave enough; see `refusal` where it never fits."""
        needed = self._needed(size)
        if not self.device.take(needed):
            raise self.refusal(size)
        reservation = Reservation(self.device, needed)
        try:
            yield reservation
        finally:
            reservation.release()

    def refusal(self, size: BatchShape) -> InputTooLongError | ModelUnavailableError:
        """InputTooLongError where the model alone leaves too little; ModelUnavailableError where others take it."""
        budget = self.device.budget
        left = self.device.room + self.included_bytes
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


def unlimited() -> PassMemory:
    """For a model whose passes are not counted."""
    return PassMemory(DeviceMemory(), lambda _: 0)
