"""How pytest-xdist distributes the tests to its processes, also when one of them dies."""

from typing import Any

from xdist.scheduler import LoadFileScheduling

SHARED: dict[str, tuple[str, ...]] = {
    "the playground's": ("tests/browser/",),
    "served": tuple(
        f"tests/e2e/test_{name}.py"
        for name in (
            "bad_input",
            "bentoml_client",
            "captured_requests",
            "curl",
            "fuzz",
            "hostile",
            "import_on_demand",
            "openapi",
            "real_weights",
            "soak",
        )
    ),
}
"""A server that several files use -> the beginnings of their paths."""

FIRST = (
    "tests/browser/",
    "tests/e2e/test_clients.py",
    "tests/integration/architectures/test_equal_reference.py",
    "tests/replicas/",
)
"""What the processes begin with: those in the browser import the real model, for which tests/e2e has to wait. Then what
takes minutes of waiting, which should not be the last."""


def turn(nodeid: str) -> int:
    """The place of a test in FIRST; all others come last."""
    return next((place for place, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


class SharedServers(LoadFileScheduling):
    """Runs each file in one process, together with the files that use the same server.

    Starting a server takes longer than most of its tests. Two methods correct pytest-xdist 3.8 after a process died.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((shared for shared, files in SHARED.items() if file.startswith(files)), file)

    def remove_node(self, node: Any) -> str | None:
        """Forget the finished files of a process that died.

        Otherwise they are queued again, without a test. A process that gets such a file waits for ever: it keeps its
        last test until it knows the next one.
        """
        files = self.assigned_work[node]
        self.assigned_work[node] = {file: tests for file, tests in files.items() if not all(tests.values())}
        crashed: str | None = super().remove_node(node)
        return crashed

    def _reschedule(self, node: Any) -> None:
        """Wait for the collection of a process that replaces one that died; otherwise, KeyError."""
        if node in self.registered_collections:
            super()._reschedule(node)
