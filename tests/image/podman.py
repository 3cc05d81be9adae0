"""podman for the tests: no daemon, no network of its own, and everything it stores below one folder.

It runs in a mount namespace, because crun refuses a machine that mounts both versions of cgroups.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.serving import ROOT

BASE = "docker.io/library/python:3.11-slim"
PROGRAMS = ("podman", "crun", "debootstrap", "unshare", "nsenter")
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
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""
NAMESPACE = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
    "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; exec sleep infinity",
)
"""A process that keeps the mount namespace in which all commands run."""
BOOTSTRAP = ("--variant=minbase", "--include=ca-certificates,netbase,tzdata,python3.11,python3-pip", "bookworm")
"""A stand-in for BASE where no image registry can be reached."""


def missing() -> str | None:
    """Why podman cannot run here; None if it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return None if os.geteuid() == 0 else "podman without cgroups needs root here"


@dataclass(frozen=True)
class Podman:
    """podman with its configuration and storage in `folder`, in the mount namespace of a process."""

    folder: Path
    namespace: int

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path) -> Iterator[Podman]:
        """Keep a mount namespace until the block ends."""
        with subprocess.Popen(NAMESPACE, stdout=subprocess.PIPE) as keeper:
            assert keeper.stdout is not None
            keeper.stdout.readline()
            try:
                yield cls(folder, keeper.pid)
            finally:
                keeper.kill()

    @property
    def environment(self) -> dict[str, str]:
        """For podman, and for programs that call it."""
        mounts = json.dumps([f"{folder}:{folder}:ro" for folder in wheels()])
        files = {
            "CONTAINERS_CONF": CONTAINERS.format(volumes=mounts),
            "CONTAINERS_STORAGE_CONF": STORAGE.format(folder=self.folder),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        ours = {name: str(self.folder / name) for name in files}
        return {**os.environ, **ours, "BUILDAH_ISOLATION": "chroot", "CONTAINER_ENGINE": "podman"}

    def execute(self, *command: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace, with `variables` in its environment."""
        entering = ("nsenter", f"--target={self.namespace}", "--mount", f"--wd={cwd}", *command)
        environment = self.environment | variables
        return subprocess.run(entering, env=environment, capture_output=True, text=True, check=False, timeout=1200)

    def __call__(self, *arguments: str) -> str:
        """The output of a podman command, which must succeed."""
        done = self.execute("podman", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def inspect(self, image: str) -> Any:
        """What podman knows about an image or a container."""
        (found,) = json.loads(self("inspect", image))
        return found

    def provide_base(self) -> None:
        """Pull the base image, or make a stand-in from Debian's packages."""
        if self.execute("podman", "pull", "--quiet", BASE).returncode == 0:
            return
        root = self.folder / "base"
        made = self.execute("debootstrap", *BOOTSTRAP, str(root))
        assert made.returncode == 0, made.stderr[-3000:]
        (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
        for leftovers in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leftovers)
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
        uv = f"system-certs = true\n[pip]\nfind-links = {json.dumps(wheels())}\n"
        (root / "etc/uv/uv.toml").write_text(uv, encoding="utf-8")


@cache
def wheels() -> list[str]:
    """The folders of wheels that this machine's pip looks into."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = re.findall(r"\.find-links='(.*)'$", listed.stdout, re.MULTILINE)
    return sorted({folder for links in found for folder in links.split() if Path(folder).is_dir()})
