"""`python -m gatewayz_metrics`: the installed command by another way."""

from gatewayz_metrics.cli import run

run()
