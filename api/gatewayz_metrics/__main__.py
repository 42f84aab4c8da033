"""The installed command `gatewayz-metrics`, also `python -m gatewayz_metrics`."""

import sys


def run() -> None:
    """Run the command, or say what to install for it: the library alone does without the server's packages."""
    try:
        from gatewayz_metrics.cli import run as run_command  # noqa: PLC0415  # not there in every installation
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("gatewayz_"):
            raise
        sys.exit(f"gatewayz-metrics: {exc.name} is not installed; type: pip install 'gatewayz-metrics[server]'")
    except KeyboardInterrupt:
        sys.stderr.write("Ended.\n")
        sys.exit(130)  # as shells say of SIGINT
    run_command()


if __name__ == "__main__":
    run()
