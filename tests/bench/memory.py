"""`python -m tests.bench.memory [--base COMMIT]`: memory and held event loops under large answers.

Every case has a server process of its own over a fake upstream; with a base the same is measured over its code, in
the same run. RSS is the highest that the kernel saw; "held" is the longest that the event loop was kept from other
tasks, by the CPU clock of its thread; `/livez` is asked every 5 ms by a second thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import quantiles

import httpx
from rich.console import Console
from rich.table import Table

from tests.bench.servers import wait_until_answers
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.server import address, listening

ROOT = Path(__file__).parents[2]
BEGIN = 1_746_093_600
HOUR = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
MEGABYTE = 10**6


def matrix(size: int, points: int) -> bytes:
    """A matrix of about `size` bytes whose series have so many points."""
    number = 0
    parts: list[str] = []
    while size > 0:
        values = ",".join(f'[{BEGIN + 15 * step},"{number * 0.37 + step:.3f}"]' for step in range(points))
        metric = f'"__name__":"http_requests_total","instance":"10.0.{number % 251}.7:9090","path":"/v1/item/{number}"'
        parts.append(f'{{"metric":{{{metric}}},"values":[{values}]}}')
        size -= len(parts[-1]) + 1
        number += 1
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(parts)}]}}}}'.encode()


def vector(series: int, part: str = "") -> bytes:
    """An instant vector; `part` is what the catalogue's batches tell their expressions apart by."""
    marked = f'"_part":"{part}",' if part else ""
    found = ",".join(
        f'{{"metric":{{{marked}"instance":"10.0.{number % 251}.7","provider":"p{number}"}},'
        f'"value":[{BEGIN},"{number}.25"]}}'
        for number in range(series)
    )
    return f'{{"status":"success","data":{{"resultType":"vector","result":[{found}]}}}}'.encode()


def names(size: int) -> bytes:
    """Label values of about `size` bytes."""
    found = ",".join(f'"/v1/item/{number:020d}"' for number in range(size // 33))
    return f'{{"status":"success","data":[{found}]}}'.encode()


@dataclass(frozen=True)
class Case:
    """Requests that are sent at once, and what the upstream answers to them."""

    title: str
    answer: Callable[[Exchange], bytes]
    requests: list[Callable[[httpx.Client], httpx.Response]]


def panel(number: int) -> Callable[[httpx.Client], httpx.Response]:
    body = {"targets": [{"refId": "A", "target": f"q{number}"}], "range": HOUR, "intervalMs": 15_000}
    return lambda client: client.post("/query", json=body | {"maxDataPoints": 11_000})


def cases(megabytes: int) -> list[Case]:
    size = megabytes * MEGABYTE
    long, wide, points = matrix(size, 241), matrix(size, 1), vector(50_000)
    listed = names(size)
    hour = {"query": "q", "start": str(BEGIN), "end": str(BEGIN + 3600), "step": "15"}
    variable = {"payload": {"target": "label_values(path)"}, "range": HOUR}

    def by_part(exchange: Exchange) -> bytes:
        family = next((part for part in exchange.request.parts if not part.endswith(("_bucket", "_sum"))), "")
        return vector(50_000, family)

    return [
        Case(f"/query, 1 x {megabytes} MB, long series", lambda _: long, [panel(0)]),
        Case(f"/query, 3 x {megabytes} MB, long series", lambda _: long, [panel(n) for n in range(3)]),
        Case(f"/query, 3 x {megabytes} MB, series of one point", lambda _: wide, [panel(n) for n in range(3)]),
        Case(
            f"/variable, {megabytes} MB of label values",
            lambda _: listed,
            [lambda client: client.post("/variable", json=variable)],
        ),
        Case(
            f"/api/v1/label/path/values, {megabytes} MB",
            lambda _: listed,
            [lambda client: client.get("/api/v1/label/path/values")],
        ),
        Case(
            "/api/v1/query, 50k series", lambda _: points, [lambda client: client.get("/api/v1/query?query=q&time=1e9")]
        ),
        Case(
            f"/api/v1/query_range, {megabytes} MB, long series",
            lambda _: long,
            [lambda client: client.get("/api/v1/query_range", params=hour)],
        ),
        Case(
            "/prometheus/metrics/business, 2 x 50k series",
            by_part,
            [lambda client: client.get("/prometheus/metrics/business") for _ in range(2)],
        ),
    ]


@dataclass
class Probe:
    """Asks `/livez` until it is told to stop."""

    url: str
    seconds: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=120) as client:
            while not self._stop.wait(0.005):
                begun = time.monotonic()
                client.get("/livez").raise_for_status()
                self.seconds.append(time.monotonic() - begun)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / MEGABYTE


def measure(case: Case, code: Path) -> list[str]:
    """The figures of a case over the code in a folder, as cells of the table."""
    with FakeUpstream(lambda exchange: exchange.reply(case.answer(exchange))) as fake, listening() as free:
        where = address(free)
        free.close()
        environment = {"PYTHONPATH": f"{code}:{ROOT}", "PROMETHEUS_URL": fake.url, "PROMETHEUS_TIMEOUT": "200"}
        command = [sys.executable, "-m", "uvicorn", "tests.bench.probed:app", "--port", where.partition(":")[2]]
        with subprocess.Popen([*command, "--log-level", "error"], env=os.environ | environment) as server:
            try:
                url = f"http://{where}"
                wait_until_answers(f"{url}/livez")
                return _measure(case, url, server.pid)
            finally:
                server.terminate()


def _measure(case: Case, url: str, pid: int) -> list[str]:
    probe = Probe(url)
    with httpx.Client(base_url=url, trust_env=False, timeout=300) as client:
        client.get("/_hold")
        time.sleep(0.1)
        client.get("/_hold")
        before = peak_megabytes(pid)
        begun = time.monotonic()
        with probe.running(), ThreadPoolExecutor(len(case.requests)) as pool:
            statuses = sorted(reply.status_code for reply in pool.map(lambda send: send(client), case.requests))
        took = time.monotonic() - begun
        held = json.loads(client.get("/_hold").content)
    late = quantiles(probe.seconds, n=100)[98] if len(probe.seconds) > 1 else max(probe.seconds, default=0.0)
    return [
        ",".join(map(str, statuses)),
        f"{took:.1f} s",
        f"{before:.0f} → {peak_megabytes(pid):.0f} MB",
        f"{held['cpu'] * 1000:.0f} ms",
        f"{late * 1000:.0f} / {max(probe.seconds, default=0.0) * 1000:.0f} ms",
    ]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The packages of a commit in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.check_output(["git", "archive", commit, "api"], cwd=ROOT)  # noqa: S607
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        yield Path(folder, "api")


def main() -> None:
    """Measure every case, over the base first."""
    arguments = argparse.ArgumentParser(description="Memory and held event loops under large answers.")
    arguments.add_argument("--base", help="a commit to compare with")
    arguments.add_argument("--megabytes", type=int, default=30)
    arguments.add_argument("--only", default="", help="cases whose title contains this")
    asked = arguments.parse_args()
    table = Table("Case", "Code", "Status", "Took", "RSS, peak", "Held", "/livez p99 / max")
    for case in cases(asked.megabytes):
        if asked.only not in case.title:
            continue
        if asked.base:
            with checked_out(asked.base) as code:
                table.add_row(case.title, asked.base[:12], *measure(case, code))
        table.add_row(case.title, "here", *measure(case, ROOT / "api"))
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
