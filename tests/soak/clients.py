"""The clients of the campaign: viewers who check every byte, and those who misbehave."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from tests.soak.truth import INSTANT_QUERIES, LABELS, RANGE_QUERIES, SELECTOR, STEP, Truth

PAGES = ("summary", "system", "providers", "models", "business", "performance", "all", "docs")
# Nested subqueries, which keep an engine busy for seconds.
HEAVY = f"max_over_time(sum(rate(fastapi_requests_total{{{SELECTOR}}}[1m]))[30m:1s])"
WIDE = f"{{{SELECTOR}}}"
_PATIENCE = 100.0
_ERRORS = 400


@dataclass
class Tally:
    """What the clients saw."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refused_routes: Counter[tuple[str, int]] = field(default_factory=Counter)
    partial: int = 0
    outages_told: int = 0
    probes: list[float] = field(default_factory=list)
    failed_probes: int = 0

    def note(self, kind: str, status: int) -> None:
        """Count an answer; 0 stands for a connection that the service closed without one."""
        self.answers[kind, status] += 1

    def note_wrong(self, what: str, problem: str) -> None:
        """Keep what was wrong, if anything was."""
        if problem:
            self.wrong.append(f"{what}: {problem}")


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes


@dataclass
class Crowd:
    """The clients of one campaign; each has an address of its own among a few."""

    port: int
    truth: Truth
    tally: Tally = field(default_factory=Tally)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, clients: int) -> None:
        """All of them until `stop` is set: six of ten are viewers, the others take what they can."""
        shares: tuple[tuple[float, Callable[[str], Awaitable[None]]], ...] = (
            (0.45, self._view),
            (0.15, self._read_routes),
            (0.2, self._leave),
            (0.1, self._read_slowly),
            (0.1, self._burden),
        )
        kinds = [kind for share, kind in shares for _ in range(round(share * clients))]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._probe())
            for number, kind in enumerate(kinds):
                group.create_task(self._repeat(kind, f"127.0.{1 + number % 25}.1"))

    async def _repeat(self, once: Callable[[str], Awaitable[None]], sender: str) -> None:
        while not self.stop.is_set():
            try:
                await once(sender)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self.tally.note("connection lost", 0)
            with_pause = random.uniform(0.5, 5)  # noqa: S311  # no secret
            try:
                await asyncio.wait_for(self.stop.wait(), with_pause)
            except TimeoutError:
                continue

    async def _view(self, sender: str) -> None:
        """One question of a dashboard, whose answer is compared with the truth."""
        match random.choice(("range", "range", "instant", "list")):  # noqa: S311  # no secret
            case "range":
                query = random.choice(RANGE_QUERIES)  # noqa: S311
                last = int(time.time()) // STEP * STEP
                first = last - random.choice((900, 1800, 3000))  # noqa: S311
                span = {"query": query, "start": first, "end": last, "step": STEP}
                answer = await self._get(sender, f"/api/v1/query_range?{urlencode(span)}")
                self._judge("range", answer, lambda body: self.truth.find_wrong_range(query, first, last, body))
            case "instant":
                query = random.choice(INSTANT_QUERIES)  # noqa: S311
                path = f"/api/v1/query?{urlencode({'query': query, 'time': self.truth.settled})}"
                answer = await self._get(sender, path)
                self._judge("instant", answer, lambda body: self.truth.find_wrong_instant(query, body))
            case _:
                label = random.choice(LABELS)  # noqa: S311
                answer = await self._get(sender, f"/api/v1/label/{label}/values")
                self._judge("list", answer, lambda body: self.truth.find_wrong_list(label, body))

    async def _read_routes(self, sender: str) -> None:
        """One of the eight routes; whatever happens to the upstream, it answers 200."""
        page = random.choice(PAGES)  # noqa: S311  # no secret
        answer = await self._get(sender, f"/prometheus/metrics/{page}")
        at = time.time()
        self.tally.note("route", answer.status)
        if answer.status != 200:
            self.tally.refused_routes[page, answer.status] += 1
        elif page == "summary":
            self.tally.outages_told += b'"error' in answer.body
            self.tally.note_wrong("summary", self.truth.find_wrong_summary(at, answer.body))
        elif page != "docs":
            self.tally.note_wrong(page, self.truth.find_wrong_page(at, answer.body))

    async def _leave(self, sender: str) -> None:
        """A client that asks and goes, by a reset or in good order."""
        async with self._connected(sender) as (_, writer):
            query = quote(f"{HEAVY} + {random.random()}")  # noqa: S311
            writer.write(_request(f"/api/v1/query?query={query}"))
            await writer.drain()
            await asyncio.sleep(random.uniform(0, 0.5))  # noqa: S311
            if random.random() < 0.5:  # noqa: S311
                writer.transport.abort()
        self.tally.note("left", 0)

    async def _read_slowly(self, sender: str) -> None:
        """A client that asks for much and takes it by the spoonful, or not at all."""
        async with self._connected(sender) as (reader, writer):
            last = int(time.time()) // STEP * STEP
            span = {"query": WIDE, "start": last - 3000, "end": last, "step": STEP}
            writer.write(_request(f"/api/v1/query_range?{urlencode(span)}"))
            await writer.drain()
            if random.random() < 0.5:  # noqa: S311  # no secret
                await asyncio.sleep(30)
            for _ in range(20):
                if not await asyncio.wait_for(reader.read(2048), _PATIENCE):
                    break
                await asyncio.sleep(1)
        self.tally.note("slow reader", 0)

    async def _burden(self, sender: str) -> None:
        """A query that nobody else asks and that takes the engine long."""
        query = f"{HEAVY} + {random.random()}"  # noqa: S311  # no secret
        answer = await self._get(sender, f"/api/v1/query?{urlencode({'query': query, 'nocache': '1'})}")
        self.tally.note("heavy", answer.status)

    async def _probe(self) -> None:
        """Ask `/livez` four times a second."""
        while not self.stop.is_set():
            begun = time.perf_counter()
            try:
                answer = await self._get("127.0.0.1", "/livez")
                self.tally.failed_probes += answer.status != 200
            except OSError:
                self.tally.failed_probes += 1
            self.tally.probes.append(time.perf_counter() - begun)
            await asyncio.sleep(0.25)

    def _judge(self, kind: str, answer: Answer, find_wrong: Callable[[bytes], str]) -> None:
        self.tally.note(kind, answer.status)
        try:
            envelope = json.loads(answer.body)
            if answer.status >= _ERRORS:
                good = envelope["status"] == "error" and bool(envelope["error"])
                self.tally.note_wrong(kind, "" if good else "an error without a sentence")
                return
            self.tally.partial += bool(envelope.get("warnings"))
            self.tally.note_wrong(kind, find_wrong(answer.body))
        except (ValueError, KeyError, TypeError) as exc:
            self.tally.note_wrong(kind, f"no envelope ({exc!r}): {answer.body[:100]!r}")

    async def _get(self, sender: str, path: str) -> Answer:
        async with self._connected(sender) as (reader, writer):
            writer.write(_request(path))
            await writer.drain()
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
            length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
            body = await asyncio.wait_for(reader.readexactly(length), _PATIENCE)
            return Answer(int(head.split(None, 2)[1]), body)

    @asynccontextmanager
    async def _connected(self, sender: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(sender, 0))
        try:
            yield reader, writer
        finally:
            writer.close()


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n".encode()
