"""Grafana's own package for data, run by Node."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support import npm

VERSION = "11.6.2"


def run(script: Path, given: object) -> Any:
    """What a script writes, which gets the folder of the package and reads JSON. Skips the test without Node."""
    folder = npm.install(f"grafana-data-{VERSION}", f"@grafana/data@{VERSION}")
    command = ["node", str(script), str(folder)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
