"""README.md, CONTRIBUTING.md and docs/ are correct: their commands print the output shown, their messages are in the
code.

Each `bash` block runs as one script; a `text` block directly after it is its output, in which `...` stands for any part
of a JSON value. JSON may be wrapped. Japanese pages have identical blocks (tests/unit/test_readme_ja.py).
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import errors
from models.catalog import load_catalog
from tests import tiny
from tests.conftest import MODEL
from tests.hub_server import HubServer
from tests.serving import ROOT, Served, child_environment, copy_home, http_get, http_post, serve
from tests.tiny import sentence_modules
from tests.tolerance import FLOAT32, openvino_precision, unit_atol
from tests.unit.sources import parse_file, source_files
from tests.variant import DTYPE, THREADS

PAGES_NOT_RUN = {
    "docs/deployment.md": "needs a container engine or a cluster; tests/unit/deploy checks its files",
    "docs/embed_corpus.md": "tests/e2e/test_corpus.py and tests/unit/corpus run the command",
}
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if str(path.relative_to(ROOT)) not in PAGES_NOT_RUN
}
"""English page -> its text."""

NOT_RUN = {
    "./start.sh": "makes an environment; its last command runs `bentoml serve`, as the fixture does",
    "source .venv/bin/activate": "the tests run in an environment already",
    "bentoml serve": "the fixture runs it, on a free port",
    "./scripts/test": "CI runs it, with --all",
    "./scripts/test --all": "runs this test",
    "scripts/install --dev": "makes an environment",
    "scripts/test": "the same",
    "scripts/test --all": "the same",
    "scripts/test tests/unit -k batching": "the same, in part",
    "scripts/check": "CI runs it",
    "scripts/check --fix": "would rewrite the working tree",
    "pip install httpx qdrant-client": "tests/clients installs it in an environment of its own",
    "python examples/hybrid/with_qdrant.py biggest planet": "tests/clients/test_hybrid.py runs it",
    "python -m scripts.generate": "would write files; tests/unit/scripts/test_generate.py runs it with --check",
}
"""Lines that are not run here -> the reason."""

ON_HUB = ("cl-nagoya/ruri-v3-30m", "hotchpotch/japanese-reranker-tiny-v2", "Qwen/Qwen3-Reranker-0.6B")
"""Names of models that the pages download; here they are tiny. None of them has golden numbers."""
M3 = "tiny-m3"
"""A tiny bge-m3, under a name without golden numbers."""
UNLISTED = "sentence-transformers/distiluse-base-multilingual-cased-v2"
"""A model that the pages import by its name alone."""
IMPORTING = {"BACKEND": "torch"}
"""Settings of whatever imports models: their conversion for OpenVINO would take longer than the rest of the file."""

SOURCES = [
    str(node.value)
    if isinstance(node, ast.Constant)
    else "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    for path in source_files()
    for node in ast.walk(parse_file(path))
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
] + [(ROOT / "scripts" / "detect_hardware").read_text(encoding="utf-8").replace("$root", "")]
"""All strings in the code, with `...` for placeholders."""


@dataclass(frozen=True)
class Block:
    """The commands of a page that are run, and the output that it shows."""

    page: str
    line: int
    script: str
    shown: str | None


def blocks() -> list[Block]:
    """All blocks with commands to run."""
    found = []
    for page, text in PAGES.items():
        for match in re.finditer(r"^```bash\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.DOTALL | re.MULTILINE):
            lines = [line for line in match[1].splitlines() if command(line) not in NOT_RUN]
            if any(line.strip() and not line.startswith("export ") for line in lines):
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(page, line, "\n".join(lines), match[2]))
    return found


def command(line: str) -> str:
    """A line without its comment."""
    return re.sub(r"\s+# .*", "", line).strip()


def section(page: str, title: str) -> str:
    """The text of a page below one heading."""
    return PAGES[page].split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def own_catalogue() -> str:
    """The catalogue file that docs/custom_models.md shows."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", PAGES["docs/custom_models.md"], re.DOTALL | re.MULTILINE)
    return str(shown)


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without header rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rules = {number for number, line in enumerate(lines) if line.startswith("| ---")}
    heads = {number - 1 for number in rules}
    kept = [line for number, line in enumerate(lines) if number not in rules | heads]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in kept]


BLOCKS = blocks()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths in the pages -> paths of the test."""
    data = tmp_path_factory.mktemp("data")
    tiny.build("intfloat/e5-base", data / "my-model")
    tiny.build("cl-nagoya/ruri-v3-70m", data / "cl-nagoya_ruri-v3-70m")
    m3 = f"  - name: {M3}\n    repo: acme/{M3}\n    kind: embedding\n"
    (data / "my-models.yaml").write_text(own_catalogue() + m3, encoding="utf-8")
    return {
        '"model": "bge-m3"': f'"model": "{M3}"',
        "/data/my-model": str(data / "my-model"),
        "/data/models": str(data),
        "EXTRA_CATALOG=my-models.yaml": f"EXTRA_CATALOG={data / 'my-models.yaml'}",
    }


@pytest.fixture(scope="module")
def environment(
    folders: dict[str, str], imported: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A model store with the embedded model, a Hub with tiny models, and the catalogue file of the pages."""
    home = copy_home(imported, tmp_path_factory.mktemp("readme"))
    with HubServer() as hub:
        for repo in ON_HUB:
            folder = tiny.build(repo, tmp_path_factory.mktemp("repository"))
            hub.add(repo, folder, commit=load_catalog().get(repo).revision)
        hub.add(UNLISTED, sentence_modules.build("SiLU", tmp_path_factory.mktemp("repository")))
        hub.add(f"acme/{M3}", tiny.build("BAAI/bge-m3", tmp_path_factory.mktemp("repository")))
        hub.add("my-org/my-model", Path(folders["/data/my-model"]))
        catalogue = folders["EXTRA_CATALOG=my-models.yaml"].partition("=")[2]
        settings = {"DEVICE": "cpu", "DTYPE": DTYPE, "CPU_THREADS": str(THREADS), "EXTRA_CATALOG": catalogue}
        settings["BATCH_DIR"] = str(home / "batches")
        yield child_environment(home, settings | hub.environment(home / "huggingface"))


@pytest.fixture(scope="module")
def readme_server(environment: dict[str, str]) -> Iterator[Served]:
    """The service that `./start.sh` starts, with the settings of `environment`."""
    names = (
        "DEVICE",
        "DTYPE",
        "EXTRA_CATALOG",
        "BATCH_DIR",
        "HF_ENDPOINT",
        "HF_HOME",
        "HF_TOKEN",
        "NO_PROXY",
    )
    settings: dict[str, Any] = {name: environment[name] for name in names} | IMPORTING
    with serve(Path(environment["BENTOML_HOME"]), **settings) as server:
        yield server


def run(script: str, server: Served, environment: dict[str, str], folders: dict[str, str]) -> str:
    """Standard output of commands, run from the root; they must succeed."""
    for name, value in (folders | {"localhost:7987": f"127.0.0.1:{server.port}"}).items():
        script = script.replace(name, value)
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    backend = IMPORTING if "./embeddings import" in script else {}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env=environment | {"PATH": path} | backend,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


ENGINE_TOLERANCE = unit_atol(openvino_precision())


def shows(shown: str, printed: str) -> bool:
    """Whether the shown output matches the printed one, except for spaces and small differences.

    A truncated number (`0.0103...`) may differ by ENGINE_TOLERANCE.
    """
    one_line = printed.startswith("{")
    left, right = (text.strip() for text in (shown, printed))
    left = "".join(line.strip() for line in left.splitlines()) if one_line else " ".join(left.split())
    right = right if one_line else " ".join(right.split())
    numbers = [float(number) for number in re.findall(r"(-?\d+\.\d+)\.\.\.", left)]
    pattern = re.sub(r"(\\-)?\d+\\\.\d+\\\.\\\.\\\.", lambda _: r"(-?[\d.]+(?:e-?\d+)?)", re.escape(left))
    pattern = pattern.replace(r"\[\.\.\.\]", r"\[[^]]*\]").replace(r"\.\.\.", '[^"]*')
    found = re.fullmatch(pattern, right)
    return found is not None and all(
        abs(float(printed_number) - number) < ENGINE_TOLERANCE
        for printed_number, number in zip(found.groups(), numbers, strict=True)
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page} line {block.line}")
def test_commands_print_the_shown_output(
    block: Block, readme_server: Served, environment: dict[str, str], folders: dict[str, str]
) -> None:
    printed = run(block.script, readme_server, environment, folders)
    if block.shown is None:
        assert '{"error"' not in printed
    else:
        assert shows(block.shown, printed), f"{block.page} shows:\n{block.shown}\nbut this is printed:\n{printed}"


def test_three_ways_to_select_a_prompt_are_equal(
    readme_server: Served, environment: dict[str, str], folders: dict[str, str]
) -> None:
    (block,) = [block for block in BLOCKS if ":query" in block.script]
    printed = run(block.script, readme_server, environment, folders)
    vectors = np.array([json.loads(vector) for vector in re.findall(r'"embedding":(\[[^]]+\])', printed)])
    assert len(vectors) == 3
    assert_allclose(vectors, vectors[[0, 0, 0]], rtol=0, atol=FLOAT32)
    body = {"model": "ruri-v3-30m", "input": "瑠璃色とは"}
    plain = http_post(f"{readme_server.url}/v1/embeddings", json=body, timeout=300).json()["data"][0]["embedding"]
    assert np.abs(vectors[0] - plain).max() > 0.01


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ('{"a":1,\n "b":[...]}', '{"a":1,"b":[1,2]}', True),
        ('{"id":"...",\n "n":0.12...}', '{"id":"x y","n":0.1234}', True),
        ('{"n":0.12...}', '{"n":0.2334}', False),
        ('{"a":"..."}', '{"a":"x","b":"y"}', False),
        ("a  0.000... pass", "a   4.2e-06  pass\n", True),
        ("a  0.000... pass", "a   0.00095  pass\n", True),
        ("a  0.000... pass", "a   0.5  pass\n", False),
        ("a  pass", "a  FAIL", False),
    ],
)
def test_the_comparison_itself(shown: str, printed: str, *, same: bool) -> None:
    assert shows(shown, printed) == same


def test_every_block_is_run_or_listed_as_an_exception() -> None:
    text = "".join(PAGES.values())
    languages = set(re.findall(r"^```(\w*)$", text, re.MULTILINE)) - {""}
    assert languages == {"bash", "text", "yaml"}
    assert MODEL in BLOCKS[0].script
    assert len(BLOCKS) >= 15
    lines = {
        command(line) for block in re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M) for line in block.split("\n")
    }
    assert set(NOT_RUN) <= lines, "an exception that no page needs any more"
    assert all((ROOT / page).exists() for page in PAGES_NOT_RUN)


def test_the_minimal_model_block_has_three_lines() -> None:
    assert own_catalogue().startswith("models:\n")
    assert len(own_catalogue().splitlines()) == 4


def test_all_errors_are_listed() -> None:
    family = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ServiceError)
    ]
    assert {(status, code.strip("`")) for status, code, _ in rows(PAGES["docs/errors.md"])} == {
        (str(kind.status), kind.code) for kind in family
    }


def test_all_routes_are_listed(readme_server: Served) -> None:
    documented = http_get(f"{readme_server.url}/docs.json", timeout=300).json()["paths"]
    listed = set(re.findall(r"`(GET|POST|DELETE) ([^`]+)`", section("docs/api.md", "Routes")))
    expected = {(method.upper(), path) for path, methods in documented.items() for method in methods}
    assert listed >= expected  # the table also has pages and files, which are not in the OpenAPI document


def test_licences_of_recommended_models_match_the_catalogue() -> None:
    catalog = load_catalog()
    picks = re.findall(r"`([^`]+)` \(([^)]+)\)", section("README.md", "Recommended models"))
    assert len(picks) == 12
    for name, licence in picks:
        assert (catalog.get(name).license, catalog.get(name).commercial) == (licence, True)


@pytest.mark.parametrize(
    "message", [re.findall(r"`(.+)`", row[0])[0] for row in rows(PAGES["docs/troubleshooting.md"])]
)
def test_quoted_messages_are_in_the_code(message: str) -> None:
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("...")), re.DOTALL)
    assert any(pattern.search(text) for text in SOURCES), f"nothing in the code says: {message}"
