"""A batch over two replicas that share a folder: one is killed in the middle, and the other computes only the rest."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.testing import assert_allclose

from tests.conftest import MODEL
from tests.e2e.conftest import SETTINGS
from tests.serving import Served, copy_home, http_get, http_post, serve, until
from tests.tolerance import openvino_precision, unit_atol

COUNT = 600
TEXTS = [f"sentence {number} " + "about something else " * (20 + number % 20) for number in range(COUNT)]
"""Fifty thousand tokens, which take a thread several seconds."""


def lines(texts: list[str]) -> bytes:
    """The input file; the last request is invalid."""
    requests = [
        {"custom_id": f"{number}", "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, "input": text}}
        for number, text in enumerate(texts)
    ]
    requests[-1]["body"] = {"model": "no-such-model", "input": "text"}
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def get(server: Served, path: str) -> httpx.Response:
    """A successful response."""
    response = http_get(f"{server.url}{path}", timeout=60)
    assert response.status_code == 200, response.text
    return response


def answers(server: Served, file_id: str) -> list[dict[str, Any]]:
    """The lines of an output or error file."""
    return [json.loads(line) for line in get(server, f"/v1/files/{file_id}/content").text.splitlines()]


def completed(server: Served, path: str, count: int) -> bool:
    """Whether a batch has at least so many responses."""
    batch = get(server, path).json()
    assert batch["status"] in ("validating", "in_progress", "finalizing", "completed"), batch
    return int(batch["request_counts"]["completed"]) >= count


def test_a_killed_replica_is_replaced_without_computing_a_line_twice(imported: Path, tmp_path: Path) -> None:
    shared = SETTINGS | {"BATCH_DIR": str(tmp_path / "batches")}
    with serve(copy_home(imported, tmp_path / "first"), **shared) as first:
        upload = {"file": ("batch.jsonl", lines(TEXTS))}
        file = http_post(f"{first.url}/v1/files", files=upload, data={"purpose": "batch"}, timeout=60).json()
        body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
        path = f"/v1/batches/{http_post(f'{first.url}/v1/batches', json=body, timeout=60).json()['id']}"
        until(lambda: completed(first, path, 1), what="the first responses")
        for process in (first.supervisor, *first.workers()):  # the supervisor first: it would replace the worker
            process.kill()
    (folder,) = (tmp_path / "batches" / "batches").glob("batch_*")
    kept = set((folder / "output.jsonl").read_bytes().split(b"\n")[:-1])
    assert 0 < len(kept) < COUNT - 1, "the batch must not be complete when the process is killed"
    with serve(copy_home(imported, tmp_path / "second"), **shared) as second:
        until(lambda: get(second, path).json()["status"] == "completed", what="the end of the batch")
        batch = get(second, path).json()
        assert batch["request_counts"] == {"total": COUNT, "completed": COUNT - 1, "failed": 1}
        written = get(second, f"/v1/files/{batch['output_file_id']}/content").content.split(b"\n")[:-1]
        assert kept <= set(written)  # request ids included, so they were not computed again
        output = [json.loads(line) for line in written]
        assert Counter(line["custom_id"] for line in output) == Counter(map(str, range(COUNT - 1)))
        (error,) = answers(second, batch["error_file_id"])
        assert error["response"]["status_code"] == 404
        assert error["response"]["body"]["error"]["code"] == "model_not_found"
        chosen = output[:: COUNT // 20]
        texts = [TEXTS[int(line["custom_id"])] for line in chosen]
        direct = http_post(f"{second.url}/v1/embeddings", json={"model": MODEL, "input": texts}, timeout=60).json()
        expected = np.array([entry["embedding"] for entry in direct["data"]])
        found = np.array([line["response"]["body"]["data"][0]["embedding"] for line in chosen])
        assert_allclose(found, expected, rtol=0, atol=unit_atol(openvino_precision()))
        metrics = get(second, "/metrics").text
        assert 'service_batches_total{status="completed"} 1.0' in metrics
        assert "sentence 7" not in second.log
