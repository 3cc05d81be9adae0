"""The servers for the clients' tests: the service with all-MiniLM-L6-v2, in the main environment.

`python -m tests.clients.server` prints the URLs as one line of JSON and serves until its stdin is closed.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import tiny
from tests.clients.samples import API_KEY, M3, MODEL
from tests.serving import copy_home, import_models, serve

SETTINGS = {
    "EMBEDDING_MODEL_NAME": MODEL,
    "RERANKER_MODEL_NAME": MODEL,
    "PRELOAD_MODELS": MODEL,
    "DEVICE": "cpu",
    "DTYPE": "float32",
    "BACKEND": "torch",  # the reference's engine, because numbers are compared to 1e-5
}
SERVERS = {"open": {}, "guarded": {"API_KEYS": API_KEY, "MAX_QUEUED_TOKENS": "20"}}
"""Name -> additional settings. `guarded` requires a key, and has a short queue."""


@contextlib.contextmanager
def serve_all(servers: Mapping[str, Mapping[str, str]] = SERVERS) -> Iterator[dict[str, str]]:
    """Run servers until the block ends: name -> additional settings in, name -> URL out."""
    with tempfile.TemporaryDirectory(prefix="rerank-embedding-clients-") as folder, contextlib.ExitStack() as stack:
        imported = Path(folder, "imported")
        imported.mkdir()
        settings = SETTINGS | _tiny_m3(Path(folder))
        import_models(imported, MODEL, M3, **settings)

        def start(name: str) -> str:
            home = copy_home(imported, Path(folder, name))
            own = dict(servers[name]) | {"BATCH_DIR": str(home / "batches")}
            return stack.enter_context(serve(home, **settings | own)).url

        with ThreadPoolExecutor() as pool:
            urls = dict(zip(servers, pool.map(start, servers), strict=True))
        yield urls


def _tiny_m3(folder: Path) -> dict[str, str]:
    """The settings for the model M3, which is written to `folder`."""
    tiny.build("BAAI/bge-m3", folder / f"acme_{M3}")
    catalog = folder / "catalog.yaml"
    catalog.write_text(f"models:\n  - name: {M3}\n    repo: acme/{M3}\n    kind: embedding\n", encoding="utf-8")
    return {"RERANKER_MODELS_DIR": str(folder), "EXTRA_CATALOG": str(catalog)}


if __name__ == "__main__":
    with serve_all() as urls:
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
