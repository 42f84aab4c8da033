"""Prometheus' own judge of configurations and rules."""

import subprocess
from pathlib import Path

from gatewayz_demo import engines


def promtool(*arguments: str | Path) -> tuple[bool, str]:
    """Whether promtool is content, and what it says."""
    tool = engines.find_engine("promtool")
    command = [str(tool.path), *map(str, arguments)]
    done = subprocess.run(command, env=tool.environment(), capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr
