"""Checks before BentoML starts a worker. A problem is reported in one sentence instead of a traceback.

The container runs `python -m startup`, which checks only BENTOML_HOME: BentoML opens it before it imports service.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from errors import ModelNotFoundError
from models.catalog import CatalogError
from models.files import DISK_FULL
from runners.devices import DeviceError
from settings import Settings, SettingsError, bentoml_home, load_settings

BENTOML_FOLDERS = ("", "bentos", "models", "envs", "tmp")
"""Folders of BENTOML_HOME that BentoML needs."""
IMPORT_FOLDERS = ("models", "imports")
"""Folders of BENTOML_HOME that an import writes to."""


class StartError(ValueError):
    """The service cannot start; the message says what to change."""


_KNOWN = (SettingsError, CatalogError, ModelNotFoundError, DeviceError, StartError)


@contextlib.contextmanager
def without_traceback() -> Iterator[None]:
    """Convert an error of the settings or the machine into a ClickException, whose message the command line prints."""
    try:
        yield
    except _KNOWN as error:
        raise click.ClickException(str(error)) from None


def check(settings: Settings) -> None:
    """StartError if `bentoml serve` would fail. Does nothing in other commands and in workers."""
    context = click.get_current_context(silent=True)
    if context is None or context.command.name != "serve":
        return
    check_home(bentoml_home(), imports=settings.import_on_demand)
    if settings.batch_dir is not None:
        check_batch_dir(settings.batch_dir)
    check_address(context.params.get("host") or settings.host, context.params.get("port") or settings.port)


def check_home(folder: Path, *, imports: bool) -> None:
    """StartError unless BentoML's folders exist or can be created, and imports can write to theirs."""
    for name in (*BENTOML_FOLDERS, *(IMPORT_FOLDERS if imports else ())):
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
            if imports and name in IMPORT_FOLDERS:
                tempfile.TemporaryFile(dir=folder / name).close()
        except OSError as error:
            if error.errno in DISK_FULL:
                continue  # stored models can still be served; an import reports the space that it needs
            raise StartError(_unwritable(folder, name, error, imports=imports)) from None


def _unwritable(folder: Path, name: str, error: OSError, *, imports: bool) -> str:
    advice = f"Set BENTOML_HOME to a folder that the user with id {os.geteuid()} can write to"
    if imports and name in IMPORT_FOLDERS:
        advice += ", or set IMPORT_ON_DEMAND=false if all models are already in the model store"
    return f"BENTOML_HOME: {folder / name} cannot be written ({error.strerror}). {advice}."


def check_batch_dir(folder: Path) -> None:
    """StartError unless the folder of the batch API can be written, or is only full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise StartError(
                f"BATCH_DIR: {folder} cannot be written ({error.strerror}). Set it to a folder that the user with id "
                f"{os.geteuid()} can write to."
            ) from None


def check_address(host: str, port: int) -> None:
    """StartError if the service cannot listen on HOST and PORT."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the same as BentoML
        try:
            listener.bind((host, port))
            listener.listen(1)  # two sockets can bind to one port, but only one can listen
        except OSError as error:
            raise StartError(_taken(host, port, error)) from None


def bound_address(settings: Settings) -> tuple[str, int]:
    """Host and port of this worker's socket. BentoML's --host and --port take precedence over HOST and PORT."""
    context = click.get_current_context(silent=True)
    fd = context.params.get("fd") if context else None  # BentoML passes the socket to its workers as --fd
    if fd is not None:
        with socket.socket(fileno=os.dup(fd)) as listener:
            if listener.family != socket.AF_UNIX:  # that of a service on which another one depends
                host, port, *_ = listener.getsockname()
                return host, port
    return settings.host, settings.port


def _taken(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"PORT: {port} on {host} is in use by another process. Stop it, or set PORT to another number."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST: {host} is not an address of this machine. Set HOST to one that is, or to 0.0.0.0 for all."
    return f"PORT: cannot listen on port {port} of {host} ({error.strerror}). Set PORT to another number."


def main() -> int:
    """Check BENTOML_HOME. Returns the exit status, and writes a problem to standard error."""
    try:
        check_home(bentoml_home(), imports=load_settings().import_on_demand)
    except (SettingsError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
