"""The embedded upstream: a Prometheus with two hours of history that watches a simulated gateway."""

import asyncio
import json
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatewayz_demo import engines, fetch, gateway, history, processes, scrape
from gatewayz_demo.engines import Engine
from gatewayz_demo.fetch import Progress
from gatewayz_demo.processes import EngineProcess
from gatewayz_demo.simulator import Simulator

HOURS = 2.0
RETENTION = "2d"
# Until the first new scrape, rates over five minutes are low by the share of the pause.
MAX_PAUSE = 2 * 60.0
MAX_AGE = 6 * 3600.0
# Counters continue only while the same code lives through the same steps: raise it when the world changes.
WORLD_VERSION = 1


@dataclass(frozen=True)
class Origin:
    """What a data folder was made from, and how far Prometheus has followed it."""

    epoch: float
    scraped: float
    version: int = WORLD_VERSION
    seed: int = 7

    @classmethod
    def of(cls, folder: Path, *, now: float) -> Self | None:
        """The origin noted in a data folder, unless it is too old to go on with."""
        try:
            origin = cls(**json.loads((folder / "origin.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        young = 0 <= now - origin.epoch < MAX_AGE
        return origin if young and origin.version == WORLD_VERSION else None

    def note(self, folder: Path) -> None:
        """Notes it in the data folder; the last thing written, so that a folder with it is complete."""
        (folder / "origin.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    def world(self) -> Simulator:
        """The world at its epoch."""
        return Simulator(seed=self.seed, epoch=self.epoch)


@asynccontextmanager
async def embedded_upstream(
    *, progress: Progress = print, environ: Mapping[str, str] = os.environ, hours: float = HOURS
) -> AsyncIterator[str]:
    """The URL of a Prometheus with data, alive until the block ends."""
    async with AsyncExitStack() as stack:
        engine = await asyncio.to_thread(_engine, progress, environ)
        folder = stack.enter_context(_data_folder(fetch.folder(environ) / "demo", progress))
        world = await asyncio.to_thread(_prepared, folder, hours, progress, environ)
        stack.enter_context(_followed(world, folder))
        address = await stack.enter_async_context(_served(gateway.create_gateway_app(world)))
        progress(f"A simulated gateway answers on http://{address}{scrape.METRICS.path}.")
        server = stack.enter_context(await _started(engine, folder, address))
        progress(f"Prometheus answers on {server.url}.")
        yield server.url


def _engine(progress: Progress, environ: Mapping[str, str]) -> Engine:
    engine = engines.find_engine("prometheus", progress=progress, environ=environ)
    progress(f"Prometheus {engine.version()} found: {engine.path}")
    return engine


@contextmanager
def _data_folder(folder: Path, progress: Progress) -> Iterator[Path]:
    """The data folder of the demo, or one for this run alone while another demo has that."""
    folder.mkdir(parents=True, exist_ok=True)
    with fetch.locked_or_busy(folder / "lock") as free:
        if free:
            yield folder / "data"
            return
        progress("Another demo is running; this one keeps its data in a temporary folder.")
        with tempfile.TemporaryDirectory(prefix="gatewayz-demo-") as scratch:
            yield Path(scratch, "data")


def _prepared(folder: Path, hours: float, progress: Progress, environ: Mapping[str, str]) -> Simulator:
    """The world as of now, with a data folder that holds its past."""
    now = time.time()
    origin = Origin.of(folder, now=now)
    if not origin or now - origin.scraped > MAX_PAUSE:
        epoch = origin.epoch if origin else _on_grid(now - hours * 3600)
        return _rebuilt(folder, Origin(epoch, now), hours, progress, environ)
    world = origin.world()
    world.advance(now)
    progress(f"The history of the last run, which ended {now - origin.scraped:.0f} s ago, goes on.")
    return world


def _rebuilt(folder: Path, origin: Origin, hours: float, progress: Progress, environ: Mapping[str, str]) -> Simulator:
    """The world as of now, with its last hours written down afresh."""
    started = time.perf_counter()
    promtool = engines.find_engine("promtool", progress=progress, environ=environ)
    world, now = origin.world(), origin.scraped
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        text = Path(scratch, "history.om")
        with text.open("w", encoding="utf-8") as file:
            since = max(origin.epoch, _on_grid(now - hours * 3600))
            samples = history.write_history(file, world, since=since, until=now)
        processes.backfill(text, folder, promtool=promtool)
    origin.note(folder)
    progress(f"{hours:g} h of history: {samples:,} samples in {time.perf_counter() - started:.1f} s.")
    return world


@contextmanager
def _followed(world: Simulator, folder: Path) -> Iterator[None]:
    """Notes at the end when Prometheus last asked, which is when the world last moved."""
    before = world.now
    try:
        yield
    finally:
        if world.now > before:
            Origin(world.epoch, world.now, seed=world.seed).note(folder)


def _on_grid(moment: float) -> float:
    return math.floor(moment / scrape.INTERVAL) * scrape.INTERVAL


async def _started(engine: Engine, folder: Path, address: str) -> EngineProcess:
    """The running Prometheus; nothing stays behind when the wait for it is cancelled."""

    def start() -> EngineProcess:
        config = scrape.prometheus_config(address)
        return processes.start_prometheus(folder, config, retention=RETENTION, engine=engine)

    starting = asyncio.create_task(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).stop()
        raise


class _UnloggedProtocol(H11Protocol):
    """HTTP without access lines, which would stand between those of the service in the same terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False


class _Server(uvicorn.Server):
    """A server within somebody else's process, who alone decides about signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves every signal handler as it is."""
        yield

    def install_signal_handlers(self) -> None:
        """Leaves them as they are in uvicorn before 0.29 too."""


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    """The host and port of an application served by this very event loop."""
    # No logging option here: they change the loggers of every server in the process.
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
