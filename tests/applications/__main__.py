"""Runs applications against the service: embedding and reranking through their own settings.

`python -m tests.applications [NAME ...]` installs each application in an environment of its own, runs its program in
tests/applications/programs, compares the numbers with sentence-transformers, and writes results.json and the table in
docs/applications.md. An environment takes up to 3 GB; `--keep` keeps them. n8n and Flowise need npm and a C++ compiler.
"""

import argparse
import json
import sys
import traceback
from datetime import UTC, datetime

from tests.applications.checks import calls, check
from tests.applications.environment import installed, run_program
from tests.applications.outside import refusing_proxy
from tests.applications.programs.given import Given, Report
from tests.applications.results import Result, save
from tests.applications.table import APPLICATIONS, Application
from tests.clients.samples import API_KEY, DIMENSIONS, DOCUMENTS, MODEL, QUERY
from tests.clients.server import serve_all

SETTINGS = {"API_KEYS": API_KEY, "MODEL_ALIASES": f"rerank-v3.5={MODEL}"}
"""The service's settings: a key, and a name for applications that know only Cohere's models."""


def main(arguments: list[str] | None = None) -> int:
    """Run the named applications, or all; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.applications", description=(__doc__ or "").split("\n", 1)[0])
    names = {each.program: each for each in APPLICATIONS}
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME", help="all by default")
    parser.add_argument("--keep", action="store_true", help="keep the environments, which are reused")
    options = parser.parse_args(arguments)
    failed = 0
    with serve_all({"applications": SETTINGS}) as urls:
        given = Given(urls["applications"], API_KEY, MODEL, DIMENSIONS, QUERY, DOCUMENTS, folder="")
        for name in options.names or names:
            result = attempt(names[name], given, keep=options.keep)
            save(result)
            failed += bool(result.problem)
            sys.stdout.write(f"{result.application} {result.version}: {result.problem or 'passed'} {result.calls}\n")
            sys.stdout.flush()
    return 1 if failed else 0


def attempt(application: Application, given: Given, *, keep: bool) -> Result:
    """Install and run one application; whatever fails is part of the result."""
    before, compared, problem = calls(given), [], ""
    hosts: set[str] = set()
    try:
        with installed(application, keep=keep) as folder, refusing_proxy() as (proxy, hosts):
            output = run_program(application, folder, given, proxy)
        report = Report(**json.loads(output.splitlines()[-1]))
        compared = check(application, given, report, calls(given) - before)
    except Exception as error:
        traceback.print_exc()
        problem = summary(error)
    made = sorted((calls(given) - before).items())
    by_route = {route if status == "200" else f"{route} ({status})": number for (route, status), number in made}
    today = datetime.now(UTC).date().isoformat()
    return Result(application.name, application.version, by_route, compared, sorted(hosts), problem, today)


def summary(error: Exception) -> str:
    """One line, never empty: the type and the start of the message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


if __name__ == "__main__":
    sys.exit(main())
