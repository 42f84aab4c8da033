"""The installed command as a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

COMMAND = [sys.executable, "-m", "gatewayz_metrics"]


def finished(*words: str, **environment: str) -> tuple[int, str]:
    """The exit code and all output of the command, which ends by itself."""
    return ended([*COMMAND, *words], environment)


def ended(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a command and all that it printed."""
    env = os.environ | environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


@contextmanager
def running(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, leader of its own process group, and the URL that it says it answers on."""
    env = os.environ | {"PORT": "0", "PYTHONUNBUFFERED": "1"} | environment
    with subprocess.Popen(
        [*COMMAND, *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            text = ""
            for line in process.stdout:
                text += line
                if url := re.search(r"http://127\.0\.0\.1:\d+(?=/prometheus/metrics/summary|$)", line.strip()):
                    yield process, url[0]
                    break
            else:
                pytest.fail(text)
        finally:
            process.kill()
