"""Limits of containers and of systemd, on hosts with either version of control groups, or with both."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners import control_groups
from runners.control_groups import cpu_limit, memory_limit

GiB = 2**30
NO_LIMIT_V1 = 2**63 - 4096
"""What version 1 writes where nothing is limited."""


class Host:
    """A tree of control groups, and the groups that this process is in."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.membership = mount / "proc-self-cgroup"

    def __call__(self, membership: str, **files: object) -> None:
        """`host("0::/a", **{"a/memory.max": 5})`"""
        self.membership.write_text(membership)
        for name, content in files.items():
            path = self.mount / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(control_groups, "MOUNT", tmp_path)
    monkeypatch.setattr(control_groups, "MEMBERSHIP", made.membership)
    return made


def test_a_host_without_limits(host: Host) -> None:
    host("0::/user.slice\n", **{"user.slice/memory.max": "max", "user.slice/cpu.max": "max 100000"})
    assert (memory_limit(), cpu_limit()) == (None, None)


def test_a_host_without_control_groups(host: Host) -> None:
    assert (memory_limit(), cpu_limit()) == (None, None)


def test_a_container_of_version_2_sees_its_own_group_as_the_root(host: Host) -> None:
    host("0::/\n", **{"memory.max": 4 * GiB, "cpu.max": "250000 100000"})
    assert (memory_limit(), cpu_limit()) == (4 * GiB, 3)


def test_a_container_of_version_2_without_a_namespace(host: Host) -> None:
    """The path is the host's, the mount the container's."""
    host("0::/docker/abc\n", **{"memory.max": 4 * GiB})
    assert memory_limit() == 4 * GiB


def test_a_systemd_unit_within_a_slice(host: Host) -> None:
    """The slice is smaller than the unit: MemoryMax and CPUQuota of both hold."""
    host(
        "0::/system.slice/rerank.slice/it.service\n",
        **{
            "system.slice/rerank.slice/memory.max": 3 * GiB,
            "system.slice/rerank.slice/cpu.max": "max 100000",
            "system.slice/rerank.slice/it.service/memory.max": 8 * GiB,
            "system.slice/rerank.slice/it.service/cpu.max": "400000 100000",
            "system.slice/cpu.max": "200000 100000",
            "other.slice/memory.max": GiB,
        },
    )
    assert (memory_limit(), cpu_limit()) == (3 * GiB, 2)


def test_memory_high_counts(host: Host) -> None:
    host("0::/it.service\n", **{"it.service/memory.max": 8 * GiB, "it.service/memory.high": 6 * GiB})
    assert memory_limit() == 6 * GiB


def test_a_container_of_version_1(host: Host) -> None:
    """Docker without a namespace: the paths are the host's, each controller's mount is the container's own group."""
    host(
        "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        **{
            "memory/memory.limit_in_bytes": 2 * GiB,
            "cpu,cpuacct/cpu.cfs_quota_us": 150_000,
            "cpu,cpuacct/cpu.cfs_period_us": 100_000,
        },
    )
    assert (memory_limit(), cpu_limit()) == (2 * GiB, 2)


def test_version_1_nested_and_beside_version_2(host: Host) -> None:
    host(
        "5:memory:/system.slice/it.service\n2:cpu:/system.slice\n0::/system.slice/it.service\n",
        **{
            "memory/memory.limit_in_bytes": NO_LIMIT_V1,
            "memory/system.slice/memory.limit_in_bytes": 2 * GiB,
            "memory/system.slice/it.service/memory.limit_in_bytes": 5 * GiB,
            "cpu/system.slice/cpu.cfs_quota_us": -1,
            "cpu/system.slice/cpu.cfs_period_us": 100_000,
            "unified/system.slice/cpu.max": "100000 100000",
        },
    )
    assert (memory_limit(), cpu_limit()) == (2 * GiB, 1)


@pytest.mark.parametrize("content", ["", "nonsense", "-1", "0 0", "1 2 3"])
def test_what_is_no_number_limits_nothing(host: Host, content: str) -> None:
    host("0::/\n", **{"memory.max": content, "cpu.max": content})
    assert (memory_limit(), cpu_limit()) == (None, None)
