"""What happens to replicas, while clients send requests through each proxy."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.replicas.load import Load
from tests.replicas.network import Network
from tests.replicas.proxies import PROXIES, Proxy
from tests.replicas.replica import Replica
from tests.serving import until

REPLICAS = 3
FULL = {"MAX_QUEUED_TOKENS": "1", "STUB_PASS_S": "0.3"}
"""A replica that refuses requests while another one waits."""


@dataclass
class Fleet:
    """The replicas, and the proxies before them."""

    replicas: list[Replica]
    proxies: dict[str, Proxy]

    @classmethod
    @contextlib.contextmanager
    def started(cls, store: Path, folder: Path) -> Iterator[Fleet]:
        """Run the replicas, and each installed proxy, until the block ends."""
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(Network.created(REPLICAS))
            replicas = [Replica(link, folder / f"replica{number}", store) for number, link in enumerate(network.links)]
            for replica in replicas:
                replica.start()
                stack.callback(replica.kill)
            proxies = {
                name: stack.enter_context(proxy.started(network, folder / name))
                for name, proxy in PROXIES.items()
                if proxy.missing() is None
            }
            fleet = cls(replicas, proxies)
            fleet.wait_for(REPLICAS)
            yield fleet

    def wait_for(self, ready: int) -> None:
        """Wait until every proxy sees this many ready replicas."""
        for name, proxy in self.proxies.items():
            until(partial(proxy.sees, ready), what=f"{ready} ready replicas in {name}")

    def update(self) -> None:
        """Replace each replica in turn, without notice to the proxies. The last one gets a small queue."""
        for replica in self.replicas:
            replica.terminate()
            self.wait_for(REPLICAS - 1)
            replica.start(**(FULL if replica is self.replicas[-1] else {}))
            self.wait_for(REPLICAS)

    def overload(self) -> None:
        """Nothing more: the last replica has a small queue."""

    def hang(self) -> None:
        """Stop a replica's processes, and continue them when the proxies have noticed."""
        self.replicas[0].signal(signal.SIGSTOP)
        self.wait_for(REPLICAS - 1)
        self.replicas[0].signal(signal.SIGCONT)
        self.wait_for(REPLICAS)

    def cut_off(self) -> None:
        """Cut a replica's link, and repair it when the proxies have noticed."""
        self.replicas[1].link.cut()
        self.wait_for(REPLICAS - 1)
        self.replicas[1].link.repair()
        self.wait_for(REPLICAS)

    def crash(self) -> None:
        """Kill a replica."""
        self.replicas[0].kill()
        self.wait_for(REPLICAS - 1)


FAULTS: dict[str, Callable[[Fleet], None]] = {
    "rolling update": Fleet.update,
    "overloaded": Fleet.overload,
    "hung": Fleet.hang,
    "cut off": Fleet.cut_off,
    "killed": Fleet.crash,
}
"""In the order in which they happen. The last one leaves two replicas."""


def run(fleet: Fleet, requests: int, *, large: bool = False) -> dict[str, Any]:
    """Send at least `requests` through each proxy in each scenario; returns what happened, by scenario and proxy.

    With `large`, some bodies are larger than HAProxy's buffer, and may be lost if their replica is killed.
    """
    results: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        began = time.monotonic()
        before = {proxy: each.retries() for proxy, each in fleet.proxies.items()}
        loads = {proxy: Load(each.socket, requests, large=large) for proxy, each in fleet.proxies.items()}
        for load in loads.values():
            until(partial(load.reached, requests // 4), what="answers before the fault")
        fault(fleet)
        for load in loads.values():
            load.stop()
        results[name] = {
            proxy: {
                "sent": load.sent,
                "ended": dict(load.ended),
                "told to wait": load.told_to_wait,
                "sent again by the proxy": fleet.proxies[proxy].retries() - before[proxy],
            }
            for proxy, load in loads.items()
        }
        sys.stderr.write(f"{name} ({time.monotonic() - began:.0f} s): {results[name]}\n")
    return results
