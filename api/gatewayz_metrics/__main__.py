"""The installed command `gatewayz-metrics`, also `python -m gatewayz_metrics`."""

import sys
from collections.abc import Callable
from typing import NoReturn

# What shells, and typer, say of a program that SIGINT ended.
INTERRUPTED = 130


def run() -> None:
    """Run the command; Ctrl-C is one line, from the first moment on."""
    try:
        _load()()
    except KeyboardInterrupt:
        _end()
    except SystemExit as exc:
        if exc.code == INTERRUPTED:
            _end()
        raise


def _load() -> Callable[[], None]:
    """The command, or what to install for it: the library alone does without the server's packages."""
    try:
        from gatewayz_metrics.cli import run as run_command  # noqa: PLC0415  # not there in every installation
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("gatewayz_"):
            raise
        sys.exit(f"gatewayz-metrics: {exc.name} is not installed; type: pip install 'gatewayz-metrics[server]'")
    return run_command


def _end() -> NoReturn:
    sys.stderr.write("Ended.\n")
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
