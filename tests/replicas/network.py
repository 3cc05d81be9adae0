"""Network namespaces for a proxy and replicas: they share nothing with this machine's network.

A namespace exists as long as the process that keeps it, so nothing remains when the tests end, whatever ended them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

PROGRAMS = ("ip", "unshare", "nsenter", "setpriv")
KEEPER = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity")
UPLINK = "uplink"
"""The replica's end of the link to the proxy."""


def missing() -> str | None:
    """Why there can be no namespaces here; None if there can be."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() or None if tried.returncode else None


@dataclass(frozen=True)
class Namespace:
    """A network namespace, and the process that keeps it."""

    keeper: int

    @classmethod
    @contextlib.contextmanager
    def created(cls) -> Iterator[Namespace]:
        """Keep a namespace until the block ends."""
        with subprocess.Popen(KEEPER, stdout=subprocess.PIPE) as keeper:
            assert keeper.stdout is not None
            keeper.stdout.readline()
            try:
                namespace = cls(keeper.pid)
                namespace.ip("link", "set", "lo", "up")
                yield namespace
            finally:
                keeper.kill()

    def inside(self, *command: str) -> list[str]:
        """The command that runs `command` in this namespace."""
        return ["nsenter", f"--target={self.keeper}", "--net", *command]

    def ip(self, *arguments: str) -> None:
        """Run `ip`, which must succeed."""
        done = subprocess.run(self.inside("ip", *arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


@dataclass(frozen=True)
class Link:
    """A replica's namespace, its address, and its link to the proxy."""

    namespace: Namespace
    address: str

    def cut(self) -> None:
        """Lose all packets in both directions, without a word to either side."""
        self.namespace.ip("link", "set", UPLINK, "down")

    def repair(self) -> None:
        """Undo `cut`."""
        self.namespace.ip("link", "set", UPLINK, "up")


@dataclass(frozen=True)
class Network:
    """The proxy's namespace, with a link to each replica's."""

    proxy: Namespace
    links: tuple[Link, ...]

    @classmethod
    @contextlib.contextmanager
    def created(cls, replicas: int) -> Iterator[Network]:
        """Keep the namespaces until the block ends. The addresses are reserved for documentation (RFC 5737)."""
        with contextlib.ExitStack() as stack:
            proxy = stack.enter_context(Namespace.created())
            links = []
            for number in range(replicas):
                namespace = stack.enter_context(Namespace.created())
                ours, theirs = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
                near = f"replica{number}"
                proxy.ip(
                    *("link", "add", near, "type", "veth"),
                    *("peer", "name", UPLINK, "netns", str(namespace.keeper)),
                )
                for end, name, address in ((proxy, near, ours), (namespace, UPLINK, theirs)):
                    end.ip("address", "add", f"{address}/30", "dev", name)
                    end.ip("link", "set", name, "up")
                links.append(Link(namespace, theirs))
            yield cls(proxy, tuple(links))
