"""What users rely on in a container: both endpoints with the fewest rights, probes, volumes, and how it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.conftest import MODEL
from tests.image.podman import Podman
from tests.serving import free_port, http_get, http_post, until
from tests.unit.deploy.manifests import USER_ID

RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
LARGEST_BYTES = 1_600_000_000
"""Of the image without models; docs/deployment.md lists its parts."""
STOPPED_BY_SIGTERM = 0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # building the image takes minutes


@dataclass(frozen=True)
class Container:
    """A running container of the image, with the network of this machine."""

    podman: Podman
    id: str
    url: str

    @property
    def logs(self) -> str:
        """Its output so far."""
        done = self.podman.execute("podman", "logs", self.id)
        return done.stdout + done.stderr

    def ends_with(self) -> int:
        """Wait until it ends. Returns its exit status."""
        return int(self.podman("wait", self.id))


@contextlib.contextmanager
def running(podman: Podman, image: str, *options: str, **settings: str) -> Iterator[Container]:
    """Run a container until the block ends; yields when it is ready."""
    port = free_port()
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "HF_HUB_OFFLINE": "1"} | settings
    arguments = [*RESTRICTED, *options, *(f"--env={name}={value}" for name, value in variables.items())]
    container = Container(podman, podman("run", "--detach", *arguments, image), f"http://127.0.0.1:{port}")
    try:
        until(lambda: is_ready(container), timeout_s=540, what="a ready container")
        yield container
    finally:
        podman("rm", "--force", "--time=0", container.id)


def is_ready(container: Container) -> bool:
    """Whether the service in a container answers."""
    state = container.podman.inspect(container.id)["State"]
    assert state["Running"], container.logs[-3000:]
    with contextlib.suppress(httpx.TransportError):
        return http_get(f"{container.url}/readyz", timeout=5).status_code == 200
    return False


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The option that mounts a folder of the service's user on /data."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o777)
    for parent in folder.parents[:2]:  # pytest's folders are private
        parent.chmod(0o755)
    return f"--volume={folder}:/data"


@pytest.fixture(scope="module")
def container(podman: Podman, image: str, volume: str) -> Iterator[Container]:
    """The service with a volume and no other rights."""
    with running(podman, image, volume, PRELOAD_MODELS=MODEL) as container:
        yield container


def test_the_image_is_described_for_container_engines(podman: Podman, image: str) -> None:
    found = podman.inspect(image)
    config = found["Config"]
    variables = dict(variable.split("=", 1) for variable in config["Env"])
    assert variables["BENTOML_HOME"] == "/data"
    assert config["User"] == "bentoml"
    assert list(config["ExposedPorts"]) == ["7987/tcp"]
    assert found["Healthcheck"]["Test"] == ["CMD", "/home/bentoml/bento/src/embeddings", "health"]
    assert found["Size"] < LARGEST_BYTES


def test_both_endpoints_answer(container: Container) -> None:
    embedded = http_post(f"{container.url}/v1/embeddings", json={"model": MODEL, "input": "a cat"}, timeout=300)
    assert len(embedded.json()["data"][0]["embedding"]) == 384
    question = {"model": MODEL, "query": "a cat", "documents": ["a kitten", "a car"]}
    ranked = http_post(f"{container.url}/v1/rerank", json=question, timeout=300)
    assert [result["index"] for result in ranked.json()["results"]] == [0, 1]


def test_it_runs_without_rights_and_reports_its_health(container: Container) -> None:
    assert container.podman("exec", container.id, "id", "-u") == str(USER_ID)
    assert container.podman.execute("podman", "exec", container.id, "touch", "/home/bentoml/x").returncode != 0
    assert container.podman("exec", container.id, "find", "/home/bentoml/bento", "/app", "-user", str(USER_ID)) == ""
    container.podman("healthcheck", "run", container.id)


def test_models_are_imported_into_the_volume(container: Container) -> None:
    stored = container.podman("exec", container.id, "./embeddings", "import", MODEL)
    assert stored.startswith("sentence-transformers/all-MiniLM-L6-v2")


def test_sigterm_ends_an_idle_container(podman: Podman, image: str, volume: str) -> None:
    with running(podman, image, volume) as container:
        podman("kill", "--signal=TERM", container.id)
        assert container.ends_with() == STOPPED_BY_SIGTERM


def test_sigterm_lets_a_running_request_end(podman: Podman, image: str, volume: str) -> None:
    with running(podman, image, volume, PRELOAD_MODELS=MODEL) as container:
        texts = [f"passage {number} " + "word " * 200 for number in range(200)]
        statuses: list[int] = []

        def embed() -> None:
            body = {"model": MODEL, "input": texts}
            statuses.append(http_post(f"{container.url}/v1/embeddings", json=body, timeout=300).status_code)

        client = threading.Thread(target=embed)
        client.start()
        until(lambda: waiting_tokens(container), what="a request in the queue")
        podman("kill", "--signal=TERM", container.id)
        assert container.ends_with() == STOPPED_BY_SIGTERM
        client.join()
        assert statuses in ([200], [503])  # 503 if it takes longer than SHUTDOWN_GRACE_S


def waiting_tokens(container: Container) -> bool:
    """Whether a request is being computed."""
    metrics = http_get(f"{container.url}/metrics", timeout=30).text
    lines = [line for line in metrics.splitlines() if line.startswith("service_queue_tokens{")]
    return any(float(line.rsplit(" ", 1)[1]) > 0 for line in lines)


def test_a_dead_worker_ends_the_container_with_an_error(podman: Podman, image: str, volume: str) -> None:
    with running(podman, image, volume) as container:
        find = "for p in /proc/[0-9]*; do grep -q [_]bentoml_impl.worker $p/cmdline && kill -9 ${p#/proc/}; done"
        podman("exec", container.id, "sh", "-c", find)
        assert container.ends_with() == 1


def test_a_baked_in_model_needs_neither_volume_nor_network(podman: Podman, image_with_model: str) -> None:
    scratch = "--tmpfs=/data/prometheus_multiproc_dir"
    settings = {"IMPORT_ON_DEMAND": "false", "PRELOAD_MODELS": MODEL}
    with running(podman, image_with_model, scratch, **settings) as container:
        answer = http_post(f"{container.url}/v1/embeddings", json={"model": MODEL, "input": "a cat"}, timeout=300)
        assert answer.status_code == 200
