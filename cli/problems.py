"""Problems that end a command before it does anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import typer

from cli.output import fail, note
from errors import ModelNotFoundError
from models.catalog import CatalogError, ModelSpec
from runners.devices import DeviceError
from settings import SettingsError
from startup import StartError

_DIAGNOSED = (SettingsError, CatalogError, DeviceError, StartError)
"""What `./embeddings doctor` explains."""


def by_name(find: Callable[[str], ModelSpec], names: Iterable[str]) -> list[ModelSpec]:
    """The models with these names; ModelNotFoundError says which name is wrong."""
    return [_found(find, name) for name in names]


def _found(find: Callable[[str], ModelSpec], name: str) -> ModelSpec:
    try:
        return find(name)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{name}: {error}", param=error.param) from None


def fail_with_advice(error: Exception, *, as_json: bool, status: int) -> int:
    """Print what is wrong, and which command explains it. Returns the exit status."""
    fail(error, as_json=as_json, status=status)
    if isinstance(error, _DIAGNOSED) and not as_json:
        note("./embeddings doctor checks all settings and this machine.")
    return status


@contextlib.contextmanager
def refusing(*kinds: type[Exception], as_json: bool) -> Iterator[None]:
    """End the command with exit status 2 if the settings are wrong, or for these kinds of errors."""
    refused: tuple[type[Exception], ...] = (*_DIAGNOSED, ModelNotFoundError, *kinds)
    try:
        yield
    except refused as error:
        raise typer.Exit(fail_with_advice(error, as_json=as_json, status=2)) from None
