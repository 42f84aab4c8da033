"""What an attacker or a greedy neighbour costs the others, as figures: `python -m tests.soak.attacks`.

Each attack is made on `gatewayz-metrics serve` in a process of its own, while `/livez` is asked all the time.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from tests.server.service import ServiceProcess, served
from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Behaviour, Exchange, FakeUpstream

_MEGABYTE = 2**20
_EMPTY_MATRIX = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
_PAGES = ("summary", "system", "providers", "models", "business", "performance", "all", "docs")


@dataclass
class Probes:
    """`/livez`, asked four times a second from a thread of its own."""

    service: ServiceProcess
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator["Probes"]:
        """Ask until the block ends."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.service.url, trust_env=False, timeout=120) as client:
            while not self._stop.wait(0.05):
                begun = time.perf_counter()
                self.failed += client.get("/livez").status_code != 200
                self.seconds.append(time.perf_counter() - begun)

    def __str__(self) -> str:
        return f"/livez {len(self.seconds) - self.failed} of {len(self.seconds)}, p99 {_p99(self.seconds):.0f} ms"


Row = tuple[str, str, bool]


def multiply_filters() -> Row:
    """C1: twenty thousand filters on ten thousand selectors."""
    target = "+".join(["up"] * 10_000)
    filters = [{"key": f"k{number}", "operator": "=", "value": "v"} for number in range(20_000)]
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}
    body = json.dumps({"targets": [{"refId": "A", "target": target}], "range": span, "adhocFilters": filters})
    with FakeUpstream(fakes.healthy) as fake, served(fake.url) as service, Probes(service).watching() as probes:
        # What the first request of its kind makes for all others is no part of the attack.
        httpx.post(f"{service.url}/query", json={"targets": [], "range": span}, trust_env=False, timeout=120)
        times, before = [], service.reset_peak_memory()
        for turn in range(20):
            begun = time.perf_counter()
            answer = httpx.post(f"{service.url}/query", content=body, trust_env=False, timeout=120)
            times.append(1000 * (time.perf_counter() - begun))
            if not turn:
                grown = service.peak_memory() - before
        seen = f"{answer.status_code} within {median(times):.0f} ms (of 20), +{grown / _MEGABYTE:.1f} MB; {probes}"
    good = 400 <= answer.status_code < 500 and median(times) < 50 and grown < 5 * _MEGABYTE and not fake.requests
    return f"C1: {len(body) // 1024} KB of filters times selectors", seen, good


def endless_headers() -> Row:
    """H1: 300 MB of headers on one connection."""
    with served() as service, Probes(service).watching() as probes:
        before = service.reset_peak_memory()
        sent = 0
        block = b"".join(b"X-Header-%d: %s\r\n" % (number, b"v" * 100) for number in range(100))
        with service.connect() as connection:
            try:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
                while sent < 300 * _MEGABYTE:
                    connection.sendall(block)
                    sent += len(block)
            except OSError:
                pass
        grown = service.peak_memory() - before
    seen = f"refused after {sent / _MEGABYTE:.1f} MB, +{grown / _MEGABYTE:.1f} MB; {probes}"
    return "H1: 300 MB of headers", seen, sent < 300 * _MEGABYTE and grown < 5 * _MEGABYTE and not probes.failed


def silent_sockets() -> Row:
    """H2: six hundred connections that say nothing."""
    with served() as service:
        connections = [service.connect() for _ in range(600)]
        with Probes(service).watching() as probes:
            time.sleep(30)
        for connection in connections:
            connection.close()
    return "H2: 600 silent sockets, 30 s", str(probes), not probes.failed


def greedy_tenant() -> Row:
    """C2: 25 slow clients of tenant A; what tenant B and the eight routes see."""
    settings: dict[str, Any] = {
        "prometheus_engine": "mimir",
        "api_tokens": "service",
        "tenants": json.dumps({"a": "tenant-a", "b": "tenant-b"}),
    }
    with FakeUpstream(_slow_for("tenant-a")) as fake, served(fake.url, **settings) as service:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=120) as client:
            idle = [_timed(client, "b") for _ in range(200)]
            stop = threading.Event()
            crowd = [threading.Thread(target=_ask_slowly, args=(service.url, stop, number)) for number in range(25)]
            for thread in crowd:
                thread.start()
            time.sleep(1)
            busy = [_timed(client, "b") for _ in range(400)]
            routes = [_read_page(client, page) for _ in range(5) for page in _PAGES]
            stop.set()
        for thread in crowd:
            thread.join()
    ratio = _p95(busy) / _p95(idle)
    answered, valued = sum(seconds > 0 for seconds in busy), sum(routes)
    seen = (
        f"B {answered} of {len(busy)} answered, p95 {_p95(busy):.1f} ms, {ratio:.2f} of idle; "
        f"routes with values {valued} of {len(routes)}"
    )
    return "C2: 25 slow clients of A", seen, answered == len(busy) and ratio < 3 and valued == len(routes)


def _slow_for(tenant: str) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        if exchange.request.header("x-scope-orgid") == [tenant]:
            for _ in range(400):
                if not exchange.wait(0.01):
                    return
        is_range = exchange.request.path.endswith("query_range")
        exchange.reply(_EMPTY_MATRIX if is_range else fakes.one_each(exchange.request))

    return behave


def _ask_slowly(url: str, stop: threading.Event, number: int) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer a"}, trust_env=False, timeout=120) as client:
        turn = 0
        while not stop.is_set():
            client.get("/api/v1/query", params={"query": f"a{number} + {turn}"})
            turn += 1


def _timed(client: httpx.Client, token: str) -> float:
    """The seconds of one cheap query that was answered; minus them when it was not."""
    begun = time.perf_counter()
    query = {"query": f"b{begun}"}
    answer = client.get("/api/v1/query", params=query, headers={"Authorization": f"Bearer {token}"})
    seconds = time.perf_counter() - begun
    return seconds if answer.status_code == 200 else -seconds


def _read_page(client: httpx.Client, page: str) -> bool:
    """Whether a metrics route has values."""
    answer = client.get(f"/prometheus/metrics/{page}", headers={"Authorization": "Bearer service"})
    if page == "summary":
        return "error" not in answer.json() and '"N/A"' not in answer.text
    return answer.status_code == 200 and answer.headers.get("x-upstream-status", "ok") == "ok"


def _p95(seconds: list[float]) -> float:
    return 1000 * quantiles(map(abs, seconds), n=20)[18]


def _p99(seconds: list[float]) -> float:
    return 1000 * (quantiles(seconds, n=100)[98] if len(seconds) > 1 else max(seconds, default=0.0))


ATTACKS: tuple[Callable[[], Row], ...] = (multiply_filters, endless_headers, silent_sockets, greedy_tenant)


def main() -> int:
    """Make every attack and print what it cost; 1 when one cost too much."""
    table = Table("Attack", "Seen", "")
    rows = [attack() for attack in ATTACKS]
    for what, seen, good in rows:
        table.add_row(what, seen, "good" if good else "TOO MUCH")
    Console(width=150).print(table)
    return 0 if all(good for *_, good in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
