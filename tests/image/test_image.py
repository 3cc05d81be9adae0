"""What users rely on in a container: both endpoints with the fewest rights, probes, volumes, and how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from benchmarks.processes import free_port
from settings import Settings
from tests.conftest import MODEL
from tests.image.conftest import Images
from tests.image.podman import Podman
from tests.serving import http_get, http_post, until
from tests.unit.deploy.manifests import USER_ID
from tests.variant import DTYPE, IMAGE_PLATFORM

PORT = Settings.model_fields["port"].default
RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
LARGEST_BYTES = {"cpu": 1_600_000_000, "cuda": 5_500_000_000}
"""Of the image of a platform without models; docs/deployment.md lists its parts."""
QUESTION = {"model": MODEL, "query": "a cat", "documents": ["a kitten", "a car"]}
KILL_WORKER = (
    "for p in /proc/[0-9]*; do if grep -q [_]bentoml_impl.worker $p/cmdline; then kill -9 ${p#/proc/}; fi; done"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # building the image takes minutes


@dataclass(frozen=True)
class Container:
    """A container, and the URL of its service in its network."""

    podman: Podman
    id: str
    url: str

    def run(self, *command: str) -> str:
        """The output of a command in it, which must succeed."""
        return self.podman("exec", self.id, *command)

    def curl(self, path: str, *options: str) -> str:
        """The response to a request from its network; it must have no error status."""
        process = self.state["Pid"]
        command = ("nsenter", f"--target={process}", "--net", "curl", "--silent", "--show-error", "--fail", *options)
        done = self.podman.execute(*command, self.url + path)
        assert done.returncode == 0, done.stderr + self.logs
        return done.stdout

    def start(self) -> None:
        """Start it, unless it runs, and wait for its models."""
        self.podman("start", self.id)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait for its models."""
        self.curl("/readyz", "--retry-all-errors", "--retry", "600", "--retry-delay", "1", "--retry-max-time", "600")

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """The response to a request from the network of this machine."""
        return http_post(self.url + path, json=body, timeout=300)

    @property
    def state(self) -> Any:
        """Whether it runs, and how it ended."""
        return self.podman.inspect(self.id)["State"]

    @property
    def logs(self) -> str:
        """The end of its output."""
        done = self.podman.execute("podman", "logs", "--tail=40", self.id)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def composed(podman: Podman, images: Images) -> Iterator[Container]:
    """The container of docker-compose.yml, which imports a model into its volume."""
    port = free_port()
    try:
        podman.compose("up", "--detach", IMAGE=images.without_model, PORT=str(port), PRELOAD_MODELS=MODEL)
        container = Container(podman, podman("ps", "--quiet", "--latest"), f"http://127.0.0.1:{port}")
        container.wait_until_ready()
        yield container
    finally:
        podman.compose("down", "--volumes")


@pytest.fixture(scope="module")
def isolated(podman: Podman, images: Images) -> Iterator[Container]:
    """A container with a model in its image, without a volume or a network."""
    settings = {"IMPORT_ON_DEMAND": "false", "PRELOAD_MODELS": MODEL, "DTYPE": DTYPE}
    options = [*RESTRICTED, "--tmpfs=/data/prometheus_multiproc_dir", "--network=none"]
    options += [f"--env={name}={value}" for name, value in settings.items()]
    container = Container(podman, podman("create", *options, images.with_model), f"http://127.0.0.1:{PORT}")
    try:
        yield container
    finally:
        podman("rm", "--force", "--time=0", container.id)


def test_the_image_is_described_for_container_engines(podman: Podman, images: Images) -> None:
    found = podman.inspect(images.without_model)
    config = found["Config"]
    variables = dict(variable.split("=", 1) for variable in config["Env"])
    assert variables["BENTOML_HOME"] == "/data"
    assert config["User"] == "bentoml"
    assert list(config["ExposedPorts"]) == [f"{PORT}/tcp"]
    assert found["Healthcheck"]["Test"] == ["CMD", "/home/bentoml/bento/src/embeddings", "health"]
    assert found["Size"] < LARGEST_BYTES[IMAGE_PLATFORM]


def test_a_model_is_one_layer_more(podman: Podman, images: Images) -> None:
    layers, more_layers = (
        podman.inspect(image)["RootFS"]["Layers"] for image in (images.without_model, images.with_model)
    )
    assert more_layers[:-1] == layers


def test_compose_gives_it_no_rights(composed: Container) -> None:
    assert composed.run("id", "-u") == str(USER_ID)
    rights = composed.run("grep", "-E", "^(Cap...|NoNewPrivs):", "/proc/self/status")
    values = {name: int(value, base=16) for name, value in (line.split(":") for line in rights.splitlines())}
    assert values == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1}
    options = dict.fromkeys(("/", "/data", "/tmp", "/app/models"), "")
    for _, mounted, _, given, *_ in map(str.split, composed.run("cat", "/proc/mounts").splitlines()):
        options[mounted] = given.split(",")[0]
    assert [options[mounted] for mounted in ("/", "/data", "/tmp", "/app/models")] == ["ro", "rw", "rw", "ro"]
    assert composed.run("find", "/home/bentoml/bento", "/app/.venv", "-user", str(USER_ID)) == ""


def test_both_endpoints_answer(composed: Container) -> None:
    embedded = composed.post("/v1/embeddings", {"model": MODEL, "input": "a cat"}).json()
    assert len(embedded["data"][0]["embedding"]) == 384
    ranked = composed.post("/v1/rerank", QUESTION).json()
    assert [result["index"] for result in ranked["results"]] == [0, 1]


def test_it_reports_its_health(composed: Container) -> None:
    composed.podman("healthcheck", "run", composed.id)


def test_models_are_imported_into_the_volume(composed: Container) -> None:
    stored = composed.run("./embeddings", "import", MODEL)
    assert stored.startswith("sentence-transformers/all-MiniLM-L6-v2")
    mounted = {mount["Destination"]: mount for mount in composed.podman.inspect(composed.id)["Mounts"]}
    assert mounted["/data"]["Type"] == "volume"
    assert composed.run("find", "/data/models", "-name", "model.safetensors")


def test_stopping_lets_a_running_request_end(composed: Container) -> None:
    texts = [f"passage {number} " + "word " * 200 for number in range(120)]
    statuses: list[int] = []
    body = {"model": MODEL, "input": texts}
    client = threading.Thread(target=lambda: statuses.append(composed.post("/v1/embeddings", body).status_code))
    client.start()
    until(lambda: waiting_tokens(composed), what="a request in the queue")
    composed.podman.compose("stop")
    client.join()
    assert statuses in ([200], [503])  # 503 if it takes longer than SHUTDOWN_GRACE_S
    assert (composed.state["Status"], composed.state["ExitCode"]) == ("exited", 0)


def waiting_tokens(container: Container) -> bool:
    """Whether a request is being computed."""
    metrics = http_get(f"{container.url}/metrics", timeout=30).text
    lines = [line for line in metrics.splitlines() if line.startswith("service_queue_tokens{")]
    return any(float(line.rsplit(" ", 1)[1]) > 0 for line in lines)


def test_a_model_in_the_image_needs_neither_volume_nor_network(isolated: Container) -> None:
    isolated.start()
    ranked = isolated.curl("/v1/rerank", "--json", json.dumps(QUESTION))
    assert [result["index"] for result in json.loads(ranked)["results"]] == [0, 1]


def test_sigterm_ends_an_idle_container(isolated: Container) -> None:
    isolated.start()
    isolated.podman("kill", "--signal=TERM", isolated.id)
    assert isolated.podman("wait", isolated.id) == "0"


def test_a_dead_worker_ends_the_container_with_an_error(isolated: Container) -> None:
    isolated.start()
    isolated.run("sh", "-c", KILL_WORKER)
    assert isolated.podman("wait", isolated.id) == "1"
