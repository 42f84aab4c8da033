"""Who is compared: the service as users run it, its yardsticks, each a process of its own."""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import httpx

from tests.bench.load import Ask
from tests.support.command import running
from tests.support.server import address, listening
from tests.support.usage import memory, processor_seconds

ROOT = Path(__file__).parents[2]
_START = 30.0
# Seconds and bytes that large answers need, on a machine that does much else.
_PATIENT = {"PROMETHEUS_TIMEOUT": "100", "LOG_LEVEL": "error"}


@dataclass(frozen=True)
class Party:
    """A server that is asked."""

    name: str
    url: str
    pid: int

    def ask(self, path: str, *, body: str = "", accepts: str = "identity") -> Ask:
        return Ask(self.url, path, body=body, accepts=accepts)

    def ask_json(self, path: str, body: str) -> Ask:
        return replace(self.ask(path, body=body), media_type="application/json")

    def processor_seconds(self) -> float:
        return processor_seconds(self.pid)

    def peak_memory(self) -> int:
        """Bytes in use at most."""
        return memory(self.pid, "VmHWM")


@contextmanager
def service(engine: Party, code: Path = ROOT / "api", *words: str, **settings: str) -> Iterator[Party]:
    """`gatewayz-metrics serve` over an engine, from the code in a folder."""
    environment = {"PYTHONPATH": f"{code}:{ROOT}", "PROMETHEUS_URL": engine.url} | _PATIENT | settings
    with running("serve", *words, **environment) as (process, url):
        yield Party("ours", url, process.pid)


def offers_workers(code: Path) -> bool:
    """Whether the code in a folder serves with more than one process."""
    command = [sys.executable, "-m", "gatewayz_metrics", "serve", "--help"]
    environment = os.environ | {"PYTHONPATH": str(code)}
    return "--workers" in subprocess.check_output(command, env=environment, text=True)


@contextmanager
def reference(kind: str, server: str, body: bytes, media_type: str) -> Iterator[Party]:
    """Prebuilt bytes at `/bytes`, from `fastapi` or from plain `asgi`, under `granian` or `uvicorn`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "body")
        file.write_bytes(body)
        command = [sys.executable, "-m", "tests.bench.reference", kind, server]
        with _started(kind, [*command, "{port}", str(file), media_type], "/bytes", {"PYTHONPATH": str(ROOT)}) as party:
            yield party


# The least that Trickster has to be told, in each of its two languages. Without the last two lines it would keep
# neither ranges of more than 1,024 points nor answers above 512 kB.
_TRICKSTER = {
    1: """[frontend]
listen_port = {port}
listen_address = '127.0.0.1'
[metrics]
listen_port = {metrics}
[reloading]
listen_port = {reloading}
[logging]
log_level = 'error'
[origins.default]
origin_url = '{url}'
origin_type = 'prometheus'
timeseries_retention_factor = 12000
max_object_size_bytes = 104857600
""",
    2: """frontend:
  listen_port: {port}
  listen_address: 127.0.0.1
metrics:
  listen_port: {metrics}
mgmt:
  listen_port: {reloading}
logging:
  log_level: error
backends:
  default:
    provider: prometheus
    origin_url: {url}
    timeseries_retention_factor: 12000
    max_object_size_bytes: 104857600
""",
}


def trickster_version(binary: str) -> str:
    """As it says itself, such as `1.1.5`."""
    said = subprocess.run([binary, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.\-]*", said.stdout + said.stderr)
    assert found, f"{binary} names no version"
    return found[0]


@contextmanager
def trickster(binary: str, engine: Party) -> Iterator[Party]:
    """Trickster over an engine, its cache in memory."""
    version = trickster_version(binary)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trickster.conf")
        metrics, reloading, port = _free_port(), _free_port(), _free_port()
        filled = {"metrics": metrics, "reloading": reloading, "port": port, "url": engine.url}
        file.write_text(_TRICKSTER[int(version[0])].format(**filled))
        command = [binary, "-config", str(file)]
        with _started(f"Trickster {version}", command, "/api/v1/query?query=1", {}, port) as party:
            yield party


@contextmanager
def _started(
    name: str, command: list[str], path: str, environment: dict[str, str], port: int | None = None
) -> Iterator[Party]:
    port = port or _free_port()
    words = [word.format(port=port) for word in command]
    with subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_answers(f"http://127.0.0.1:{port}{path}")
            yield Party(name, f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.kill()


def _free_port() -> int:
    with listening() as free:
        return int(address(free).rpartition(":")[2])


def wait_until_answers(url: str) -> None:
    """Return when a page is there. Raises AssertionError when it does not come."""
    deadline = time.monotonic() + _START
    with httpx.Client(trust_env=False) as client:
        while True:
            try:
                client.get(url).raise_for_status()
            except httpx.TransportError:
                assert time.monotonic() < deadline, f"{url} does not answer"
                time.sleep(0.05)
            else:
                return


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The packages of a commit in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.check_output(["git", "archive", commit, "api"], cwd=ROOT)  # noqa: S607
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        yield Path(folder, "api")
