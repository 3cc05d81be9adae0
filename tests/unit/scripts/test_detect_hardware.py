"""scripts/detect_hardware and start.sh --docker on simulated machines."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from tests.unit.sources import ROOT

TOOLS = ("bash", "cat", "dirname", "grep", "head", "stat")
SMI = {
    "a GPU": "echo 'NVIDIA L4'; echo 'NVIDIA T4'",
    "no GPU": "exit 0",
    "no driver": "echo 'NVIDIA-SMI has failed'; exit 9",
}
ROCMINFO = {
    "a GPU": "echo '  Device Type:             CPU'; echo '  Device Type:             GPU'",
    "a CPU": "echo '  Device Type:             CPU'",
    "no rights": "echo 'Unable to open /dev/kfd read-write'; exit 1",
}
VISIBLE = (None, "0,1", "", "-1")


@dataclass
class Machine:
    """A PATH with only fake commands, and a root folder for device files."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin, self.root = self.folder / "bin", self.folder / "root"
        (self.root / "dev").mkdir(parents=True)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def command(self, name: str, script: str | None) -> None:
        """Have a command, or not."""
        (self.bin / name).unlink(missing_ok=True)
        if script is not None:
            (self.bin / name).write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
            (self.bin / name).chmod(0o755)

    def device(self, there: bool) -> None:
        """Have /dev/kfd, or not."""
        kfd = self.root / "dev" / "kfd"
        kfd.touch() if there else kfd.unlink(missing_ok=True)

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's scripts there."""
        environment = {"PATH": str(self.bin), "PROBE_ROOT": str(self.root)} | self.environment | more
        command = [str(ROOT / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def detect(self, visible: str | None = None) -> list[str]:
        """The platform and the reason."""
        more = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        result = self.run("scripts/detect_hardware", **more)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def expected(smi: str | None, kfd: bool, rocminfo: str | None, visible: str | None) -> tuple[str, str]:
    """The expected platform, and a part of the reason."""
    if visible == "-1":
        return "cpu", "CUDA_VISIBLE_DEVICES=-1"
    if smi == "a GPU":
        return "cuda", "NVIDIA L4"
    if kfd and rocminfo in (None, "a GPU"):
        return "rocm", "/dev/kfd exists"
    if kfd:
        return "cpu", "are you in the groups video and render?"
    return "cpu", "is the driver loaded?" if smi else "neither an NVIDIA nor an AMD GPU"


@pytest.mark.parametrize(("smi", "kfd"), list(product([None, *SMI], [False, True])))
def test_every_combination(machine: Machine, smi: str | None, kfd: bool) -> None:
    machine.command("nvidia-smi", smi and SMI[smi])
    machine.device(kfd)
    for rocminfo, visible in product([None, *ROCMINFO], VISIBLE):
        machine.command("rocminfo", rocminfo and ROCMINFO[rocminfo])
        platform, reason = expected(smi, kfd, rocminfo, visible)
        found = machine.detect(visible)
        assert len(found) == 2
        assert found[0] == platform, (rocminfo, visible, found)
        assert reason in found[1], (rocminfo, visible, found)


DOCKER = """
printf '%s\\n' "$*" >> {record}
[ "${{RENDER_GID:-}}" ] && printf 'RENDER_GID=%s\\n' "$RENDER_GID" >> {record}
case "$1 $2" in
  "image inspect") exit {missing} ;;
  "version ") exit {down} ;;
esac
exit 0
"""


def with_docker(machine: Machine, *, missing: int = 0, down: int = 0) -> Path:
    record = machine.folder / "docker.log"
    machine.command("docker", DOCKER.format(record=record, missing=missing, down=down))
    return record


@pytest.mark.parametrize(
    ("platform", "file"),
    [("cuda", "docker-compose.yml"), ("rocm", "docker-compose.amd.yml"), ("cpu", "docker-compose.cpu.yml")],
)
def test_start_docker_uses_the_compose_file_of_the_platform(machine: Machine, platform: str, file: str) -> None:
    machine.command("nvidia-smi", SMI["a GPU"] if platform == "cuda" else None)
    machine.device(platform == "rocm")
    record = with_docker(machine)
    result = machine.run("start.sh", "--docker", "--detach")
    assert result.returncode == 0, result.stderr
    assert f"Platform: {platform} (" in result.stderr
    lines = record.read_text(encoding="utf-8").splitlines()
    calls = [line for line in lines if not line.startswith("RENDER_GID")]
    assert calls == [
        "compose version",
        f"image inspect rerank-embedding:{platform}",
        f"compose --file docker/{file} up --detach",
    ]
    group = f"RENDER_GID={(machine.root / 'dev' / 'kfd').stat().st_gid}" if platform == "rocm" else None
    assert set(lines) - set(calls) == ({group} if group else set())


def test_torch_platform_overrides_detection(machine: Machine) -> None:
    machine.command("nvidia-smi", SMI["a GPU"])
    record = with_docker(machine)
    assert machine.run("start.sh", "--docker", TORCH_PLATFORM="cpu").returncode == 0
    assert "docker/docker-compose.cpu.yml" in record.read_text(encoding="utf-8")
    refused = machine.run("start.sh", "--docker", TORCH_PLATFORM="tpu")
    assert refused.returncode == 2
    assert "it must be cuda, rocm or cpu" in refused.stderr


def test_a_missing_image_is_built_first(machine: Machine) -> None:
    record = with_docker(machine, missing=1, down=1)  # and then the build says what it lacks
    result = machine.run("start.sh", "--docker")
    assert result.returncode == 1
    assert "docker does not respond" in result.stderr
    assert "compose --file" not in record.read_text(encoding="utf-8")
    named = machine.run("start.sh", "--docker", IMAGE="registry/it:1")  # by the user, who has it somewhere
    assert named.returncode == 1
    assert "There is no image registry/it:1 on this machine" in named.stderr


def test_a_missing_engine_is_reported(machine: Machine) -> None:
    result = machine.run("start.sh", "--docker")
    assert result.returncode == 1
    assert "'docker compose' does not respond" in result.stderr


@pytest.mark.parametrize("arguments", [("--dokcer",), ("docker",)])
def test_start_rejects_unknown_arguments(machine: Machine, arguments: tuple[str, ...]) -> None:
    result = machine.run("start.sh", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ./start.sh")


@pytest.mark.parametrize("arguments", [("tpu",), ("cpu", "--model"), ("cpu", "--tag"), ("cpu", "--modle", "x")])
def test_build_image_rejects_unknown_arguments(machine: Machine, arguments: tuple[str, ...]) -> None:
    (machine.bin / "sed").symlink_to(str(shutil.which("sed")))
    record = with_docker(machine)
    result = machine.run("scripts/build_image", *arguments)
    assert result.returncode == 2
    assert "scripts/build_image [cuda|rocm|cpu]" in result.stderr
    assert not record.exists()
