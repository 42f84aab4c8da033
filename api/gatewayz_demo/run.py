"""The embedded upstream: a Prometheus with backfilled history that scrapes a simulated gateway."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatewayz_demo import background, engines, fetch, gateway, processes, scrape
from gatewayz_demo.background import Background
from gatewayz_demo.data_folder import Preparation, lock_data_folder, save_last_scrape
from gatewayz_demo.engines import Engine
from gatewayz_demo.errors import DiskFull, EngineFailed
from gatewayz_demo.fetch import Progress
from gatewayz_demo.processes import EngineProcess
from gatewayz_demo.scrape import OwnPage
from gatewayz_demo.simulator import Simulator
from gatewayz_demo.work import Work

HOURS = 2.0
# As far as the boards and the error budget look back, and a little more. The size bounds a demo that runs for weeks.
RETENTION = "32d"
RETENTION_SIZE = "--storage.tsdb.retention.size=1GB"
# Seconds that the first answers have for themselves before the older history is begun.
HEAD_START = 5.0
# Seconds; Prometheus looks for new blocks once a minute.
BLOCKS_SEEN_WITHIN, BLOCKS_LOOKED_FOR = 300.0, 2.0


@dataclass(frozen=True)
class Demo:
    """What a demo shows and whom it tells.

    `hours` is the length of the history that is there from the start, `days` of what is written in the background (0:
    none), by a child of this niceness. `spec_families` adds what the specification names and the real gateway does not
    write. `own` is the service's own page. `on_history` is called in a thread when the older history can be asked for.
    `working` hears what is under way before the first answer, for a line that changes; `progress` what is done.
    """

    progress: Progress = print
    working: Progress = fetch.ignore_progress
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    hours: float = HOURS
    days: float = background.DAYS
    niceness: int = background.NICENESS
    spec_families: bool = False
    own: OwnPage | None = None
    on_history: Callable[[], object] = lambda: None


@asynccontextmanager
async def embedded_upstream(demo: Demo) -> AsyncIterator[str]:
    """Runs Prometheus and the gateway until the block ends, and gives the URL of the Prometheus.

    Raises EngineUnavailable or EngineFailed.
    """
    progress = demo.progress
    async with AsyncExitStack() as stack:
        # First in, last out, and once more below: what is under way ends before the folders that it writes into.
        work = stack.enter_context(Work())
        demo.working("Looking for Prometheus")
        engine, promtool = await asyncio.to_thread(_find_engines, demo, work)
        cache = fetch.create_cache_folder(demo.environ)
        folder = stack.enter_context(lock_data_folder(cache / "demo", progress))
        stack.callback(work.abandon)
        demo.working(f"Writing {demo.hours:g} h of history")
        preparation = Preparation(demo.hours, demo.spec_families, promtool, progress, work)
        origin, simulator = await asyncio.to_thread(preparation.prepare, folder)
        stack.enter_context(save_last_scrape(origin, simulator, folder))
        address = await stack.enter_async_context(_serve(gateway.create_gateway_app(simulator)))
        progress(f"A simulated gateway answers on http://{address}{scrape.METRICS.path}.")
        demo.working("Starting Prometheus")
        config = scrape.render_config(address, simulator.stores, demo.own)
        server = stack.enter_context(await _start_prometheus(engine, folder, config))
        progress(f"Prometheus answers on {server.url}.")
        progress(_describe_next_incident(simulator))
        stack.push_async_callback(_cancel, asyncio.create_task(_announce_incidents(simulator, progress)))
        if demo.days:
            older = Background.of(folder, origin.since, simulator, promtool, days=demo.days, niceness=demo.niceness)
            stack.push_async_callback(_cancel, asyncio.create_task(_add_history(older, demo, work, server.url)))
            # Before the wait for it: a thread cannot be cancelled, but its child can be ended.
            stack.callback(work.abandon)
        yield server.url


def _find_engines(demo: Demo, work: Work) -> tuple[Engine, Engine]:
    engine = engines.find_engine("prometheus", progress=demo.progress, environ=demo.environ, work=work)
    demo.progress(f"Prometheus {engine.version()} found: {engine.path}")
    return engine, engines.find_engine("promtool", progress=demo.progress, environ=demo.environ, work=work)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _announce_incidents(simulator: Simulator, progress: Progress) -> None:
    """Tells of the next incident whenever one is over."""
    while True:
        incident = simulator.incidents.next(time.time() - simulator.epoch)
        await asyncio.sleep(max(1.0, simulator.epoch + incident.end - time.time()))
        progress(_describe_next_incident(simulator))


def _describe_next_incident(simulator: Simulator) -> str:
    incident = simulator.incidents.next(time.time() - simulator.epoch)
    start, end = (
        time.strftime("%H:%M", time.localtime(simulator.epoch + each)) for each in (incident.start, incident.end)
    )
    return f"The next incident, {start} to {end}: {incident.sentence}."


async def _add_history(older: Background, demo: Demo, work: Work, url: str) -> None:
    """Has the older history written, and tells when Prometheus shows it."""
    if not older.missing:
        return
    await asyncio.sleep(HEAD_START)
    started = time.perf_counter()
    try:
        await asyncio.to_thread(older.write, work)
    except EngineFailed as exc:
        demo.progress(f"There is no older history: {DiskFull.behind(exc) or exc}")
        return
    seconds = time.perf_counter() - started
    if await _is_seen(url, older.parts[-1].since):
        await asyncio.to_thread(demo.on_history)
        demo.progress(f"The history of {older.days:g} days is there, written in {seconds:.0f} s.")


async def _is_seen(url: str, at: float) -> bool:
    """Whether Prometheus comes to have the gateway's series of a moment."""
    deadline = time.monotonic() + BLOCKS_SEEN_WITHIN
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while time.monotonic() < deadline:
            # Whatever it answers while it is busy or ends is no answer yet.
            with suppress(httpx.HTTPError, ValueError, KeyError):
                answer = await client.get("/api/v1/query", params={"query": "up", "time": at + 60})
                if answer.json()["data"]["result"]:
                    return True
            await asyncio.sleep(BLOCKS_LOOKED_FOR)
    return False


async def _start_prometheus(engine: Engine, folder: Path, config: str) -> EngineProcess:
    """The running Prometheus; it is stopped again when the wait for it is cancelled."""

    def start() -> EngineProcess:
        return processes.start_prometheus(
            folder, config, retention=RETENTION, extra_flags=[RETENTION_SIZE], engine=engine
        )

    # Shielded, as a thread cannot be cancelled: it is awaited, and what it started is stopped.
    starting = asyncio.create_task(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).stop()
        raise


class _UnloggedProtocol(H11Protocol):
    """HTTP without an access log, which would mix with the log of the service in the same terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False


class _Server(uvicorn.Server):
    """A server inside another server's process, which handles the signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Installs no signal handler."""
        yield

    def install_signal_handlers(self) -> None:
        """Leaves them as they are in uvicorn before 0.29 too."""


@asynccontextmanager
async def _serve(app: FastAPI) -> AsyncIterator[str]:
    """Serves an application in this event loop and gives its host and port."""
    # No logging options: they would change the loggers of every uvicorn server in the process.
    config = uvicorn.Config(
        app, http=_UnloggedProtocol, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    with socket.create_server((processes.HOST, 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"{processes.HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
