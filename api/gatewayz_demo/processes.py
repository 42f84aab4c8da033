"""A child process that is ready when handed over, keeps its port, and never outlives its parent."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from gatewayz_demo import engines
from gatewayz_demo.engines import Engine
from gatewayz_demo.errors import EngineFailed
from gatewayz_demo.fetch import Progress, ignore_progress

HOST = "127.0.0.1"
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
POLL = 0.01

# Ends the process group when its standard input closes, which the death of whoever holds the other
# end brings about, SIGKILL included. PR_SET_PDEATHSIG would follow the starting thread, not the process.
GUARD = ["/bin/sh", "-c", "read -r _; kill -KILL 0"]


@dataclass(frozen=True)
class LaunchSpec:
    """How one kind of engine is started and asked whether it is ready."""

    scheme: str
    command: Callable[[int], Sequence[str]]
    is_ready: Callable[[int], bool]
    # Tells the port from the log of an engine that picks one itself, which no other process can race for.
    logged_port: re.Pattern[str] | None = None


class EngineProcess:
    """A running engine; a context manager that stops it."""

    def __init__(self, engine: Engine, blueprint: LaunchSpec, log: Path) -> None:
        """Starts the engine and returns when it is ready."""
        self.engine = engine
        self.log = log
        self.port = 0
        self._blueprint = blueprint
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._blueprint.scheme}://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Starts it on the port it had before, or on a free one the first time."""
        if self._child:
            return
        deadline = time.monotonic() + START_TIMEOUT
        self._guard = subprocess.Popen(GUARD, stdin=subprocess.PIPE, process_group=0)  # noqa: S603  # a constant
        try:
            while not self._came_up(deadline):
                # Somebody took the port in between: another one, or the same again a moment later.
                time.sleep(POLL * 10)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ends it in good order, by force after ten seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it and starts it again on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """The running engine itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self.stop()

    def _came_up(self, deadline: float) -> bool:
        """False when the port was taken; raises when anything else went wrong."""
        start = self.log.stat().st_size if self.log.exists() else 0
        wanted = self.port or (0 if self._blueprint.logged_port else _free_port())
        self._child = child = self._spawn(wanted)
        while child.poll() is None:
            text = self._logged(start)
            if (port := wanted or self._port_in(text)) and self._blueprint.is_ready(port):
                self.port = port
                return True
            if time.monotonic() > deadline:
                late = f"{self.engine.name} is not ready after {START_TIMEOUT:g} s."
                raise EngineFailed(f"{late} {self._tail(start)}")
            time.sleep(POLL)
        taken = "address already in use" in self._logged(start).lower()
        if taken and time.monotonic() < deadline:
            return False
        raise EngineFailed(f"{self.engine.name} ended with code {child.returncode}. {self._tail(start)}")

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        command = [str(self.engine.path), *self._blueprint.command(port)]
        group = self._guard.pid if self._guard else None
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # the binary find() decided on
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.engine.environment(),
                process_group=group,
            )

    def _end(self, signum: signal.Signals) -> None:
        child, self._child = self._child, None
        guard, self._guard = self._guard, None
        if child:
            child.send_signal(signum)
            try:
                child.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if guard:
            guard.communicate()

    def _logged(self, start: int) -> str:
        with self.log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    def _port_in(self, text: str) -> int:
        match = self._blueprint.logged_port.search(text) if self._blueprint.logged_port else None
        return int(match[1]) if match else 0

    def _tail(self, start: int) -> str:
        lines = self._logged(start).strip().splitlines()[-5:]
        return f"Its log {self.log} ends: {' | '.join(lines)[-600:] or 'nothing'}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def start_prometheus(
    data_dir: Path,
    config: str | Path | None = None,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
) -> EngineProcess:
    """Prometheus over a data folder; the configuration is a file, or text, or nothing to scrape."""
    engine = engine or engines.find_engine("prometheus", progress=progress)
    data_dir.mkdir(parents=True, exist_ok=True)
    file = config if isinstance(config, Path) else data_dir / "prometheus.yml"
    if not isinstance(config, Path):
        file.write_text(config or "{}\n", encoding="utf-8")

    def command(port: int) -> list[str]:
        return [
            f"--config.file={file}",
            f"--storage.tsdb.path={data_dir}",
            f"--storage.tsdb.retention.time={retention}",
            f"--web.listen-address={HOST}:{port}",
            *extra_flags,
        ]

    listening = re.compile(r'msg="Listening on".*?\baddress=\S+:(\d+)')
    prefix = _path_prefix(extra_flags)
    blueprint = LaunchSpec("http", command, _answers(f"{prefix}/-/ready"), listening)
    return EngineProcess(engine, blueprint, data_dir / "prometheus.log")


def start_victoria_metrics(
    data_dir: Path,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
) -> EngineProcess:
    """VictoriaMetrics, the single server, over a data folder."""
    engine = engine or engines.find_engine("victoria-metrics", progress=progress)
    data_dir.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        return [
            f"-storageDataPath={data_dir / 'data'}",
            f"-retentionPeriod={retention}",
            f"-httpListenAddr={HOST}:{port}",
            *extra_flags,
        ]

    blueprint = LaunchSpec("http", command, _answers("/health"))
    return EngineProcess(engine, blueprint, data_dir / "victoria-metrics.log")


def backfill(openmetrics_file: Path, data_dir: Path, *, promtool: Engine | None = None) -> None:
    """Writes samples with timestamps as blocks that a Prometheus over this folder then has."""
    tool = promtool or engines.find_engine("promtool")
    data_dir.mkdir(parents=True, exist_ok=True)
    # promtool reads the whole file once per block, so few long blocks are quicker than many of two hours.
    task = ["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=24h"]
    command = [str(tool.path), *task, str(openmetrics_file), str(data_dir)]
    done = subprocess.run(  # noqa: S603  # the binary find() decided on
        command, env=tool.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())[-600:]
        raise EngineFailed(f"promtool refused {openmetrics_file}: {reason}")


def _path_prefix(flags: Sequence[str]) -> str:
    """The path that --web.external-url puts before every route."""
    urls = [flag.partition("=")[2] for flag in flags if flag.startswith("--web.external-url=")]
    return urlsplit(urls[-1]).path.rstrip("/") if urls else ""


def _answers(path: str) -> Callable[[int], bool]:
    def is_ready(port: int) -> bool:
        connection = HTTPConnection(HOST, port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return is_ready
