"""A Prometheus that takes samples at any time, with the known deployments as its last hour."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gatewayz_demo import processes
from gatewayz_demo.processes import EngineProcess

from tests.support import samples
from tests.support.remote_write import Sample, remote_write

STEP = samples.STEP
_CONFIG = "storage:\n  tsdb:\n    out_of_order_time_window: 24h\n"
_FLAGS = ["--web.enable-remote-write-receiver"]


@dataclass
class World:
    """A running engine that tests write into and ask directly."""

    process: EngineProcess
    client: httpx.Client
    # Where the hour begins, and how far it has been written.
    begin: int = field(default_factory=lambda: int(time.time()) // STEP * STEP - 3600)
    end: int = 0

    @property
    def url(self) -> str:
        return self.process.url

    def write(self, found: Sequence[Sample]) -> None:
        assert remote_write(self.client, self.url, found) in (200, 204)

    def advance(self, seconds: int) -> None:
        """Every series of the deployments goes on for so long."""
        start = self.end + STEP if self.end else self.begin
        end = (self.end or self.begin) + seconds
        found = [
            ({"__name__": one.name, **_without_empty(one.labels)}, 1000 * at, one.curve(at - self.begin))
            for one in samples.deployments()
            for at in range(start, end + 1, STEP)
        ]
        for index in range(0, len(found), 20_000):
            self.write(found[index : index + 20_000])
        self.end = end

    def direct(self, path: str, params: dict[str, str], method: str = "POST") -> tuple[int, Any]:
        """Status and JSON of the engine's own answer."""
        if method == "GET":
            answer = self.client.get(f"{self.url}{path}", params=params)
        else:
            answer = self.client.post(f"{self.url}{path}", data=params)
        return answer.status_code, answer.json() if answer.content else None


def _without_empty(labels: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in labels.items() if text}


@contextmanager
def world(folder: Path, flags: tuple[str, ...] = ()) -> Iterator[World]:
    """An engine without samples yet."""
    with (
        processes.start_prometheus(folder / "tsdb", _CONFIG, extra_flags=[*_FLAGS, *flags]) as process,
        httpx.Client(trust_env=False) as client,
    ):
        yield World(process, client)
