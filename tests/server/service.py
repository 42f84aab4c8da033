"""The stand-alone service in a process of its own, asked over raw sockets."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.command import running
from tests.support.usage import memory
from tests.support.waiting import PATIENCE

NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class ServiceProcess:
    """A running `gatewayz-metrics serve`."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def get(self, path: str) -> httpx.Response:
        """An answer over a connection of its own."""
        return httpx.get(f"{self.url}{path}", trust_env=False, timeout=PATIENCE)

    def refusals(self, reason: str) -> float:
        """How many the service has counted for a reason."""
        name = f'gatewayz_metrics_server_refusals_total{{reason="{reason}"}} '
        page = self.get("/metrics").text
        return next(float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))

    def connect(self, *, sender: str = "127.0.0.1", receive_buffer: int | None = None) -> socket.socket:
        """An open connection that nothing was sent on; reading from it fails only after a long time."""
        connection = socket.socket(socket.AF_INET)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE)
        try:
            connection.bind((sender, 0))
            connection.connect(("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def is_listening(self) -> bool:
        """Whether somebody takes a connection on its port."""
        try:
            self.connect().close()
        except (ConnectionRefusedError, ConnectionResetError):  # reset: it waited on a socket that was just closed
            return False
        return True

    def ask(self, request: bytes, **options: str) -> bytes:
        """What comes back for some bytes, until the service closes the connection."""
        with self.connect(**options) as connection:  # type: ignore[arg-type]  # only strings are passed on
            connection.sendall(request)
            return read_to_end(connection)

    def reset_peak_memory(self) -> int:
        """Bytes in use; the peak starts from there (https://docs.kernel.org/filesystems/proc.html)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return memory(self.process.pid, "VmRSS")

    def peak_memory(self) -> int:
        """Bytes that were in use at most."""
        return memory(self.process.pid, "VmHWM")


@contextmanager
def served(upstream: str = NOWHERE, **settings: object) -> Iterator[ServiceProcess]:
    """The service with some settings, over an upstream."""
    environment = {name.upper(): str(value) for name, value in settings.items()}
    with running("serve", PROMETHEUS_URL=upstream, **environment) as (process, url):
        yield ServiceProcess(process, url)


def read_to_end(connection: socket.socket) -> bytes:
    """All that arrives until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
