"""`python -m benchmarks.fleet` is `./embeddings bench fleet`."""

from __future__ import annotations

import sys

from cli.app import app

if __name__ == "__main__":
    app(["bench", "fleet", *sys.argv[1:]])
