"""Several worker processes, seen from outside, and clients that keep them busy."""

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.server.service import ServiceProcess
from tests.support.usage import children
from tests.support.waiting import PATIENCE, wait_until


def workers(service: ServiceProcess) -> list[int]:
    """The process numbers of the workers that are there."""
    return sorted(children(service.process.pid))


def runs(pid: int) -> bool:
    """Whether a process is there, and not only the trace of one that nobody has asked for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sockets(pid: int) -> int:
    """How many sockets a process has."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(descriptor).startswith("socket:")  # noqa: PTH115  # no path
        except OSError:
            continue
    return found


def fetch(service: ServiceProcess, path: str, method: str = "GET") -> str:
    """The body of a good answer over a connection of its own; cheaper than a client of httpx for each."""
    found = service.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body.decode()


def samples(page: str) -> dict[str, float]:
    """The values of a page of metrics by their series."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            assert series not in found, f"{series} stands twice"
            found[series] = float(value)
    return found


def answered(service: ServiceProcess, route: str) -> float:
    """How many requests of a route have been answered with 200, by all workers."""
    return samples(fetch(service, "/metrics")).get(
        f'gatewayz_metrics_http_requests_total{{route="{route}",status="200"}}', 0.0
    )


@dataclass
class Load:
    """Clients that ask all the time, some over a new connection for each request, some over one that they keep."""

    service: ServiceProcess
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self, clients: int = 10) -> Iterator["Load"]:
        """Two of the clients keep their connections."""
        threads = [threading.Thread(target=self._ask, args=[number < 2]) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: self.answers > clients)
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def goes_on(self) -> None:
        """Return after some more answers."""
        wanted = self.answers + 40
        wait_until(lambda: self.answers >= wanted)

    def _ask(self, keeps: bool) -> None:
        # It connects anew by itself after an answer that says `Connection: close`, and only then.
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        while not self._stop.is_set():
            try:
                if not keeps:
                    # As browsers do, and as it is over a network: first a connection, and later its request.
                    connection.connect()
                    self._stop.wait(0.1)
                connection.request("GET", "/prometheus/metrics")
                answer = connection.getresponse()
                answer.read()
                with self._lock:
                    self.answers += answer.status == 200
                    if answer.status != 200:
                        self.failures.append(str(answer.status))
            except (OSError, http.client.HTTPException) as exc:
                with self._lock:
                    self.failures.append(f"{type(exc).__name__}: {exc}")
                connection.close()
            if not keeps:
                connection.close()
        connection.close()
