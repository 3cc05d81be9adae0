"""Runs the clients' tests against one set of servers, each environment with the tests of its libraries.

`.venv/bin/python -m tests.clients .venv-clients-quick .venv-clients`
"""

import json
import os
import subprocess
import sys

from tests.clients.server import serve_all
from tests.serving import ROOT

QUICK = ".venv-clients-quick"
LIBRARIES = [f"tests/clients/test_{name}.py" for name in ("capture", "haystack", "langchain", "litellm", "llama_index")]
"""Libraries that only the large environment has; the quick one has newer versions of the others."""


def main(environments: list[str]) -> int:
    """Run all tests; return the first exit status that is not 0."""
    with serve_all() as urls:
        known = os.environ | {"CLIENTS_SERVERS": json.dumps(urls)}
        statuses = []
        for each in environments:
            tests = ["tests/clients"] if each == QUICK else LIBRARIES
            command = [f"{ROOT}/{each}/bin/python", "-m", "pytest", *tests]
            statuses.append(subprocess.run(command, cwd=ROOT, env=known, check=False).returncode)
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
