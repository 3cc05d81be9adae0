"""Limits of the control groups that this process is in: a container's, a systemd unit's, or both, one inside the other.

Linux has two versions of control groups, and some hosts mount both. A limit holds for everything below it, so the
smallest one on the way from our group up to the root counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_HYBRID = "unified"
"""Where version 2 is mounted on a host whose controllers belong to version 1."""


def memory_limit() -> int | None:
    """Bytes that this process and its siblings may take; None where nothing limits them.

    `memory.high` counts too: the kernel slows a group above it down to a crawl. Version 1 writes a number near 2^63 for
    no limit; the caller compares with the installed memory anyway.
    """
    limits = [
        int(value)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        for value in _values("memory", name)
        if value.isdigit()
    ]
    return min(limits, default=None)


def cpu_limit() -> int | None:
    """Cores that this process and its siblings may keep busy, rounded up; None where nothing limits them."""
    quotas = [value.split() for value in _values("cpu", "cpu.max")]
    quotas += [[_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")] for folder in _folders("cpu")]
    cores = [-(-int(quota) // int(period)) for quota, period in filter(_limits, quotas)]
    return min(cores, default=None)


def _limits(quota: list[str]) -> bool:
    """Whether it is a quota and a period; `max`, -1 and an absent file mean no limit."""
    return len(quota) == 2 and all(part.isdigit() and int(part) > 0 for part in quota)


def _values(controller: str, name: str) -> Iterator[str]:
    return (value for folder in _folders(controller) if (value := _read(folder / name)))


def _folders(controller: str) -> Iterator[Path]:
    """The folders of our groups and of all above them, in both versions.

    In a container the paths may be the host's, of which only the root is mounted here: what is not there is skipped by
    the reader.
    """
    for line in (_read(MEMBERSHIP) or "0::/").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts = [MOUNT, MOUNT / _HYBRID]
        elif controller in controllers.split(","):
            mounts = [MOUNT / controllers, MOUNT / controller]
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / group for group in (own, *own.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
