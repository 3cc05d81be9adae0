"""Run the command line."""

from __future__ import annotations

import sys

from cli import NAME


def main() -> None:
    """Run a command; without the packages of requirements.txt, say how to install them."""
    try:
        from cli.app import app
    except ModuleNotFoundError as error:
        sys.exit(f"The Python package {error.name} is not installed. Run scripts/install, which creates .venv.")
    app(prog_name=NAME)


if __name__ == "__main__":
    main()
