"""podman for the tests: no daemon, no network of its own, and everything it stores below one folder.

It runs in a mount namespace, because crun refuses a machine that mounts both versions of cgroups, and in a namespace of
processes, so that no container remains when the tests end, whatever ended them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from tests.serving import ROOT
from tests.variant import IMAGE_PLATFORM

BASE = "docker.io/library/python:3.11-slim"
PACKAGES = ("podman", "crun", "catatonit", "mmdebstrap")
"""Debian's packages, each with a program of its name."""
PROGRAMS = (*PACKAGES, "curl", "unshare", "nsenter", "setpriv")
UV_CACHE = "/var/cache/uv"
"""Where the base image finds the wheels that this machine's uv has downloaded."""
CONTAINERS = """\
[containers]
cgroups = "disabled"
default_ulimits = []
log_driver = "k8s-file"
netns = "host"
volumes = {volumes}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""
UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--kill-child", "--mount-proc")
KEEPER = (
    *("setpriv", "--pdeathsig", "KILL", *UNSHARE, "sh", "-c"),
    "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec catatonit -P",
)
"""A process that keeps the namespaces in which all commands run."""
BOOTSTRAP = (
    *("mmdebstrap", "--variant=apt", "--include=ca-certificates,netbase,tzdata,python3.11,python3-pip"),
    *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--dpkgopt=force-unsafe-io", "bookworm"),
)
"""Makes a stand-in for BASE where no image registry can be reached."""


def missing() -> str | None:
    """Why podman cannot run here; None if it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if importlib.util.find_spec("podman_compose") is None:
        return "not installed: podman-compose"
    if os.geteuid() != 0:
        return "podman without cgroups needs root here"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() or None if tried.returncode else None


@dataclass(frozen=True)
class Podman:
    """podman with its configuration and storage in `folder`, in the namespaces of a process."""

    folder: Path
    namespace: int

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Podman]:
        """Keep the namespaces until the block ends, then delete the gigabytes in `folder` without waiting."""
        folder = Path(tempfile.mkdtemp(dir="/var/tmp"))  # podman fails if the path of `run` has more than 50 characters
        try:
            mounts = [f"{source}:{source}:ro" for source in wheels()] + [f"{uv_cache()}:{UV_CACHE}"]
            containers = CONTAINERS.format(volumes=json.dumps(mounts), folder=folder)
            (folder / "containers.conf").write_text(containers, encoding="utf-8")
            (folder / "storage.conf").write_text(STORAGE.format(folder=folder), encoding="utf-8")
            with subprocess.Popen(KEEPER, stdout=subprocess.PIPE) as keeper:
                assert keeper.stdout is not None
                keeper.stdout.readline()
                try:
                    (inside,) = psutil.Process(keeper.pid).children()
                    yield cls(folder, inside.pid)
                finally:
                    keeper.kill()
        finally:
            subprocess.run(("sh", "-c", 'rm -rf "$0" > /dev/null 2>&1 &', str(folder)), check=True)

    @property
    def environment(self) -> dict[str, str]:
        """For podman, and for programs that call it."""
        # Without layers, podman does not copy all packages once for each instruction that follows their installation.
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_LAYERS": "false",
            "CONTAINER_ENGINE": "podman",
        }

    def entering(self, *command: str, cwd: Path = ROOT) -> tuple[str, ...]:
        """The command that runs `command` in the namespaces."""
        return ("nsenter", f"--target={self.namespace}", "--mount", "--pid", f"--wd={cwd}", *command)

    def execute(self, *command: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespaces, with `variables` in its environment."""
        entering, environment = self.entering(*command, cwd=cwd), self.environment | variables
        return subprocess.run(entering, env=environment, capture_output=True, text=True, check=False, timeout=1700)

    def __call__(self, *arguments: str) -> str:
        """The output of a podman command, which must succeed."""
        done = self.execute("podman", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def inspect(self, name: str) -> Any:
        """What podman knows about an image or a container."""
        (found,) = json.loads(self("inspect", name))
        return found

    def compose(self, *arguments: str, **variables: str) -> None:
        """Run podman-compose, which must succeed, with docker-compose.yml and the network of this machine."""
        files = (f"--file={ROOT / 'docker-compose.yml'}", f"--file={Path(__file__).with_name('host_network.yml')}")
        done = self.execute(sys.executable, "-m", "podman_compose", *files, *arguments, cwd=ROOT, **variables)
        assert done.returncode == 0, done.stderr[-3000:]

    def provide_base(self) -> None:
        """Pull the base image, or make a stand-in from Debian's packages."""
        if self.execute("podman", "pull", "--quiet", BASE).returncode == 0:
            return
        root = self.folder / "base"
        made = self.execute(*BOOTSTRAP, str(root))
        assert made.returncode == 0, made.stderr[-3000:]
        (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
        self._copy_package_settings(root)
        archive = self.folder / "base.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self("import", "--change", f"ENV=PATH={path}", str(archive), BASE)
        archive.unlink()
        shutil.rmtree(root)

    def _copy_package_settings(self, root: Path) -> None:
        """Give the stand-in this machine's certificates and folders of wheels, for pip and for uv."""
        bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
        (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(bundle.read_bytes())
        (root / "etc/pip.conf").write_text(f"[global]\nfind-links = {' '.join(wheels())}\n", encoding="utf-8")
        (root / "etc/uv").mkdir()
        uv = f'cache-dir = "{UV_CACHE}"\nsystem-certs = true\n[pip]\nfind-links = {json.dumps(wheels())}\n'
        (root / "etc/uv/uv.toml").write_text(uv, encoding="utf-8")


@cache
def wheels() -> list[str]:
    """The folders of wheels that this machine's pip looks into; none for an image that must not get torch for CPUs."""
    if IMAGE_PLATFORM != "cpu":
        return []
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = re.findall(r"\.find-links='(.*)'$", listed.stdout, re.MULTILINE)
    return sorted({folder for links in found for folder in links.split() if Path(folder).is_dir()})


@cache
def uv_cache() -> str:
    """The folder in which this machine's uv keeps what it downloads."""
    command = [str(Path(sys.executable).with_name("uv")), "cache", "dir"]
    folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder
