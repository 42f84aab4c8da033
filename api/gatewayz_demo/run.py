"""The embedded upstream: a Prometheus with backfilled history that scrapes a simulated gateway."""

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
# Bounds the disk space of a demo that runs for days.
RETENTION = "2d"
# Seconds since the last scrape after which the history is written again instead of continued: the gap lowers
# rate(x[5m]) by its share of the five minutes.
MAX_GAP = 2 * 60.0
# Seconds since the epoch after which a run starts at a new one: every run simulates all steps since then.
MAX_AGE = 6 * 3600.0
# Counters continue over a restart only when the same code simulates the same steps: raise it with every change of the
# simulator.
SIMULATOR_VERSION = 2


@dataclass(frozen=True)
class Origin:
    """What the samples in a data folder were simulated from: epoch, version and seed, and the last scrape.

    Times are Unix seconds. Kept in the folder as `origin.json`.
    """

    epoch: float
    scraped: float
    version: int = SIMULATOR_VERSION
    seed: int = 7
    spec_families: bool = False

    @classmethod
    def read(cls, folder: Path, *, now: float) -> Self | None:
        """The origin of a data folder; None when there is none, or it is too old or of another version."""
        try:
            origin = cls(**json.loads((folder / "origin.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        is_recent = 0 <= now - origin.epoch < MAX_AGE
        return origin if is_recent and origin.version == SIMULATOR_VERSION else None

    def write(self, folder: Path) -> None:
        """Writes it into the data folder, after everything else: a folder that has it is complete."""
        (folder / "origin.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    def create_simulator(self) -> Simulator:
        """The simulator at its epoch."""
        return Simulator(seed=self.seed, epoch=self.epoch, spec_families=self.spec_families)


@asynccontextmanager
async def embedded_upstream(
    *,
    progress: Progress = print,
    environ: Mapping[str, str] = os.environ,
    hours: float = HOURS,
    spec_families: bool = False,
) -> AsyncIterator[str]:
    """Runs Prometheus and the gateway until the block ends, and gives the URL of the Prometheus.

    `hours` is the length of the history; `spec_families` adds what the specification names and the real gateway does
    not write. Raises EngineUnavailable or EngineFailed.
    """
    async with AsyncExitStack() as stack:
        engine = await asyncio.to_thread(_find_engine, progress, environ)
        folder = stack.enter_context(_lock_data_folder(fetch.create_cache_folder(environ) / "demo", progress))
        simulator = await asyncio.to_thread(
            _prepare_history, folder, hours, progress, environ, spec_families=spec_families
        )
        stack.enter_context(_save_last_scrape(simulator, folder))
        address = await stack.enter_async_context(_serve(gateway.create_gateway_app(simulator)))
        progress(f"A simulated gateway answers on http://{address}{scrape.METRICS.path}.")
        server = stack.enter_context(
            await _start_prometheus(engine, folder, scrape.render_config(address, simulator.stores))
        )
        progress(f"Prometheus answers on {server.url}.")
        yield server.url


def _find_engine(progress: Progress, environ: Mapping[str, str]) -> Engine:
    engine = engines.find_engine("prometheus", progress=progress, environ=environ)
    progress(f"Prometheus {engine.version()} found: {engine.path}")
    return engine


@contextmanager
def _lock_data_folder(folder: Path, progress: Progress) -> Iterator[Path]:
    """The data folder, kept between runs; a temporary one while another demo uses that."""
    folder.mkdir(parents=True, exist_ok=True)
    with fetch.try_lock(folder / "lock") as free:
        if free:
            yield folder / "data"
            return
        progress("Another demo is running; this one keeps its data in a temporary folder.")
        with tempfile.TemporaryDirectory(prefix="gatewayz-demo-") as scratch:
            yield Path(scratch, "data")


def _prepare_history(
    folder: Path, hours: float, progress: Progress, environ: Mapping[str, str], *, spec_families: bool
) -> Simulator:
    """The simulator as of now; the data folder holds its samples up to now, or nearly."""
    now = time.time()
    origin = Origin.read(folder, now=now)
    if origin and origin.spec_families != spec_families:
        origin = None
    if not origin or now - origin.scraped > MAX_GAP:
        epoch = origin.epoch if origin else _align(now - hours * 3600)
        return _write_history(folder, Origin(epoch, now, spec_families=spec_families), hours, progress, environ)
    simulator = origin.create_simulator()
    simulator.advance(now)
    progress(f"The history of the last run, which ended {now - origin.scraped:.0f} s ago, goes on.")
    return simulator


def _write_history(
    folder: Path, origin: Origin, hours: float, progress: Progress, environ: Mapping[str, str]
) -> Simulator:
    """The simulator as of now; the data folder is emptied and gets the samples of its last hours."""
    started = time.perf_counter()
    promtool = engines.find_engine("promtool", progress=progress, environ=environ)
    simulator, now = origin.create_simulator(), origin.scraped
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        text = Path(scratch, "history.om")
        with text.open("w", encoding="utf-8") as file:
            since = max(origin.epoch, _align(now - hours * 3600))
            samples = history.write_history(file, simulator, since=since, until=now)
        processes.backfill(text, folder, promtool=promtool)
    origin.write(folder)
    progress(f"{hours:g} h of history: {samples:,} samples in {time.perf_counter() - started:.1f} s.")
    return simulator


@contextmanager
def _save_last_scrape(simulator: Simulator, folder: Path) -> Iterator[None]:
    """Saves the time of the last scrape at the end, which is the last time the simulator advanced."""
    before = simulator.now
    try:
        yield
    finally:
        if simulator.now > before:
            Origin(simulator.epoch, simulator.now, seed=simulator.seed, spec_families=simulator.spec_families).write(
                folder
            )


def _align(time_s: float) -> float:
    """The last multiple of the scrape interval.

    With the epoch and the start of the history on it, every scrape that is written falls on the end of a step.
    """
    return math.floor(time_s / scrape.INTERVAL) * scrape.INTERVAL


async def _start_prometheus(engine: Engine, folder: Path, config: str) -> EngineProcess:
    """The running Prometheus; it is stopped again when the wait for it is cancelled."""

    def start() -> EngineProcess:
        return processes.start_prometheus(folder, config, retention=RETENTION, engine=engine)

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
