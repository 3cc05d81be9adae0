"""embeddings doctor: what is wrong with this machine or the settings, and which command corrects it."""

from __future__ import annotations

from dataclasses import asdict

from rich.text import Text

from cli import checks
from cli.checks import Finding, Machine, State, read_settings
from cli.output import console, say

_STYLES: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}
_NAME_WIDTH = 10


def report(*, as_json: bool) -> int:
    """Print the findings of all checks. Exit status: 0 without a problem, otherwise 1."""
    settings, wrong = read_settings()
    machine = Machine(settings)
    problems = 0
    for check in (lambda _: wrong, *checks.CHECKS):
        for finding in check(machine):
            problems += finding.state == "problem"
            if as_json:
                say("", asdict(finding), as_json=True)
            else:
                _print(finding)
    if not as_json:
        text = f"{problems} problem{'' if problems == 1 else 's'} found" if problems else "No problem found"
        console().print(f"\n{text}.", style=_STYLES["problem" if problems else "ok"])
    return 1 if problems else 0


def _print(finding: Finding) -> None:
    out = console()
    state = (f"{finding.state:8}", _STYLES[finding.state])
    out.print(Text.assemble(state, (f"{finding.name:{_NAME_WIDTH}}", "bold"), finding.text))
    if finding.fix:
        out.print(Text.assemble(" " * (8 + _NAME_WIDTH), ("→ ", "dim"), (finding.fix, "cyan")))
