"""`python -m tests.bench.memory [--base COMMIT]`: memory and held event loops under large answers.

Every case has a server process of its own over a fake upstream; with a base the same is measured over its code, in
the same run. RSS is the highest that the kernel saw; "held" is the longest that the event loop was kept from other
tasks, by the CPU clock of its thread; `/livez` is asked all the while by another process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx
from rich.console import Console
from rich.table import Table

from tests.bench.load import Ask, LoadMaker
from tests.bench.parties import ROOT, checked_out, wait_until_answers
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.server import address, listening
from tests.support.usage import memory

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


def measure(case: Case, code: Path, prober: LoadMaker) -> list[str]:
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
                return _measure(case, url, server.pid, prober)
            finally:
                server.terminate()


def _measure(case: Case, url: str, pid: int, prober: LoadMaker) -> list[str]:
    with httpx.Client(base_url=url, trust_env=False, timeout=300) as client:
        client.get("/_hold")
        time.sleep(0.1)
        client.get("/_hold")
        before = memory(pid, "VmHWM")
        begun = time.monotonic()
        with prober.probing(Ask(url, "/livez")) as waits, ThreadPoolExecutor(len(case.requests)) as pool:
            statuses = sorted(reply.status_code for reply in pool.map(lambda send: send(client), case.requests))
        took = time.monotonic() - begun
        held = json.loads(client.get("/_hold").content)
    late = quantiles(waits, n=100, method="inclusive")[98] if len(waits) > 1 else max(waits)
    return [
        ",".join(map(str, statuses)),
        f"{took:.1f} s",
        f"{before / MEGABYTE:.0f} → {memory(pid, 'VmHWM') / MEGABYTE:.0f} MB",
        f"{held['cpu'] * 1000:.0f} ms",
        f"{late:.0f} / {max(waits):.0f} ms",
    ]


def main() -> None:
    """Measure every case, over the base first."""
    arguments = argparse.ArgumentParser(description="Memory and held event loops under large answers.")
    arguments.add_argument("--base", help="a commit to compare with")
    arguments.add_argument("--megabytes", type=int, default=30)
    arguments.add_argument("--only", default="", help="cases whose title contains this")
    asked = arguments.parse_args()
    table = Table("Case", "Code", "Status", "Took", "RSS, peak", "Held", "/livez p99 / max")
    with ExitStack() as stack:
        prober = stack.enter_context(LoadMaker())
        codes = {asked.base[:12]: stack.enter_context(checked_out(asked.base))} if asked.base else {}
        for case in cases(asked.megabytes):
            if asked.only not in case.title:
                continue
            for name, code in (codes | {"here": ROOT / "api"}).items():
                table.add_row(case.title, name, *measure(case, code, prober))
            Console(width=140).print(table)


if __name__ == "__main__":
    main()
