"""Problems that end a command before it does anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer

from cli.output import fail
from errors import ModelNotFoundError
from models.catalog import CatalogError
from runners.devices import DeviceError
from settings import SettingsError
from startup import StartError

WRONG_SETTINGS = (SettingsError, CatalogError, ModelNotFoundError, DeviceError, StartError)


@contextlib.contextmanager
def refusing(*kinds: type[Exception], as_json: bool) -> Iterator[None]:
    """End the command with exit status 2 if the settings are wrong, or for these kinds of errors."""
    refused: tuple[type[Exception], ...] = (*WRONG_SETTINGS, *kinds)
    try:
        yield
    except refused as error:
        raise typer.Exit(fail(error, as_json=as_json, status=2)) from None
