"""The pool of models, its background work, and the engine process, which holds the pool of one device.

With several workers or devices, there is one for each device: `python -m engine_process FD DEVICE`. A worker starts it
and passes the listening socket on (runners/remote/peer.py). It exits after its last worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial

from api.shutdown import end_process
from errors import ServiceError
from importing.child import import_in_child
from models.catalog import Catalog
from models.store import ModelStore, open_catalog
from runners.devices import Device, count, detect
from runners.pool.model_pool import RETRY_FAILED_AFTER_S, ModelPool
from runners.remote.server import EngineServer
from settings import Settings, load_settings

logger = logging.getLogger("service")

SWITCH_S = 0.0005
"""Python's thread switch interval. The default of 5 ms is longer than most GPU passes, and a pass needs the GIL several
times: 8 to 20 % more requests on an H100."""
HOUSEKEEPING_S = 5.0
_ORPHAN_S = 10.0
"""Time without workers before the engine exits; BentoML may restart a worker."""
_EXIT_S = 10.0
"""Additional time after the workers' grace period."""
_POLL_S = 0.1
_REPORT_S = 0.1
"""Interval in which an engine reports its load, if there are several."""


def build_pool(
    settings: Settings, catalog: Catalog, store: ModelStore, device: Device, *, tokenizers: bool = True
) -> ModelPool:
    """The models of one device."""
    from runners.loading import load_model, needs_export
    from runners.pool.capacity import memory_budget, memory_needed, unavailable_reason

    return ModelPool(
        catalog,
        store,
        load=partial(load_model, device=device, settings=settings, tokenizer=tokenizers),
        import_model=import_in_child if settings.import_on_demand else None,
        unavailable_reason=partial(unavailable_reason, device=device, settings=settings),
        needs_export=partial(needs_export, device=device, settings=settings),
        memory_needed=lambda stored: memory_needed(stored.facts.parameters, device.dtype),
        memory_budget=memory_budget(device, settings),
        max_imports=settings.max_imports,
    )


async def preload(pool: ModelPool, names: Sequence[str]) -> None:
    """Load models of PRELOAD_MODELS, with retries."""
    for name in names:
        while not await _load(pool, name):  # noqa: ASYNC110  # retries have no event to wait on
            await asyncio.sleep(RETRY_FAILED_AFTER_S)
    settle_memory()


def dealt(names: Sequence[str], index: int, devices: int) -> Sequence[str]:
    """The models that one of several devices preloads: each model is on one device, or on several if there are more."""
    return names[index % len(names) :: devices] if names else ()


async def _load(pool: ModelPool, name: str) -> bool:
    """Load one model; False if that fails. The pool logs the error and /models shows it."""
    try:
        await pool.pin(pool.catalog.get(name))
    except ServiceError:
        return False
    return True


def settle_memory() -> None:
    """Exclude all objects so far, which are long-lived, from collections, which would pause requests for 100 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def import_packaged(pool: ModelPool, store: ModelStore, settings: Settings) -> None:
    """Import the models of installed packages, so that their first request does not wait for it."""
    for spec in pool.catalog:
        if settings.import_on_demand and spec.package and await asyncio.to_thread(store.find, spec) is None:
            with contextlib.suppress(ServiceError):  # logged by the pool; the next request retries
                await pool.import_model(spec)


async def check_models(pool: ModelPool, settings: Settings) -> None:
    """Fail stalled passes, and unload idle models."""
    pool.abort_stalled(settings.request_timeout_s)
    if settings.idle_unload_s:
        await pool.unload_idle(settings.idle_unload_s)


async def run(listener: socket.socket, index: int, settings: Settings) -> None:
    """Serve the models of one device until the last worker leaves."""
    store = ModelStore()
    catalog = open_catalog(settings, store)
    device, devices = detect(settings, index), count(settings)
    pool = build_pool(settings, catalog, store, device, tokenizers=False)
    server = EngineServer(pool, device, os.getpid(), devices=devices)
    listening = await server.listen(listener)
    logger.info("engine process %d holds the models of all workers on %s", os.getpid(), device.torch_name)

    async def prepare() -> None:
        await preload(pool, dealt(settings.preload_models, index, devices))
        server.set_ready()

    async def run_housekeeping() -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await check_models(pool, settings)
                server.report_unloaded()
            except Exception:  # the next round retries
                logger.exception("housekeeping failed")
            if not pool.alive:
                os._exit(1)  # the workers start another engine

    async def report_load() -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            server.report_load()

    work = [prepare(), run_housekeeping()]
    work += [import_packaged(pool, store, settings)] if index == 0 else []
    work += [report_load()] if devices > 1 else []
    background = [asyncio.create_task(each) for each in work]
    await _last_worker(server, settings.shutdown_grace_s + _EXIT_S)
    listening.close()
    end_process(0)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await pool.close()


async def _last_worker(server: EngineServer, grace_s: float) -> None:
    """Wait until all workers have left at shutdown, or no worker has connected for a while.

    After SIGTERM, it waits for `grace_s` at most; workers that are left then start another engine.
    """
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminated.set)
    alone_since = last_call = time.monotonic()
    while True:
        await asyncio.sleep(_POLL_S)
        now = time.monotonic()
        if not terminated.is_set():
            last_call = now
        if server.workers:
            alone_since = now
        elif server.shutting_down or terminated.is_set() or now - alone_since > _ORPHAN_S:
            return
        if now - last_call > grace_s:
            return


def main() -> int:
    """The engine process."""
    import uvloop
    from bentoml import server_context
    from bentoml._internal.log import SERVER_LOGGING_CONFIG, configure_server_logging

    SERVER_LOGGING_CONFIG["disable_existing_loggers"] = False  # they exist already
    configure_server_logging()
    logger.setLevel(logging.INFO)  # BentoML's default is WARNING
    sys.setswitchinterval(SWITCH_S)
    descriptor, index = map(int, sys.argv[1:])
    server_context.service_type, server_context.worker_index = "engine", index + 1  # for the log
    with socket.socket(fileno=descriptor) as listener:
        uvloop.run(run(listener, index, load_settings()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
