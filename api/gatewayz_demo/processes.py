"""Engines as child processes: ready when the call returns, on the same port after a restart, ended with the parent."""

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
from gatewayz_demo.work import Work, start_guard

HOST = "127.0.0.1"
# Seconds; a slow machine with a large data folder has to get ready within the first.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0
POLL = 0.01


@dataclass(frozen=True)
class LaunchSpec:
    """How one kind of engine is started, and how to tell that it is ready.

    `command` gives the arguments for a port, where 0 lets the engine pick one.
    """

    scheme: str
    command: Callable[[int], Sequence[str]]
    is_ready: Callable[[int], bool]
    # Finds the port in the log of an engine that picks one itself, which avoids a race with other processes for it.
    logged_port: re.Pattern[str] | None = None


class EngineProcess:
    """A running engine. As a context manager it stops the engine at the end."""

    def __init__(self, engine: Engine, spec: LaunchSpec, log: Path) -> None:
        """Starts the engine and returns when it is ready. Raises EngineFailed."""
        self.engine = engine
        self.log = log
        self.port = 0
        self._spec = spec
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self._spec.scheme}://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Starts it, on a free port the first time and on the same port later. Raises EngineFailed."""
        if self._child:
            return
        deadline = time.monotonic() + START_TIMEOUT
        self._guard = start_guard()
        try:
            while not self._try_start(deadline):
                # Another process has the port: try another one, or after a restart the same one again.
                time.sleep(POLL * 10)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ends it with SIGTERM, and with SIGKILL after STOP_TIMEOUT."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it and starts it again on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Returns the running engine."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self.stop()

    def _try_start(self, deadline: float) -> bool:
        """Whether it became ready; False when the port was taken. Raises EngineFailed for any other reason."""
        # The log is appended to: what an earlier start wrote says nothing about this one.
        start = self.log.stat().st_size if self.log.exists() else 0
        wanted = self.port or (0 if self._spec.logged_port else _find_free_port())
        self._child = child = self._spawn(wanted)
        while child.poll() is None:
            text = self._read_log(start)
            if (port := wanted or self._find_port(text)) and self._spec.is_ready(port):
                self.port = port
                return True
            if time.monotonic() > deadline:
                late = f"{self.engine.name} is not ready after {START_TIMEOUT:g} s."
                raise EngineFailed(f"{late} {self._describe_log(start)}")
            time.sleep(POLL)
        taken = "address already in use" in self._read_log(start).lower()
        if taken and time.monotonic() < deadline:
            return False
        raise EngineFailed(f"{self.engine.name} ended with code {child.returncode}. {self._describe_log(start)}")

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        command = [str(self.engine.path), *self._spec.command(port)]
        group = self._guard.pid if self._guard else None
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # the binary that find_engine() chose
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
            # Closes its input: the guard kills what is left of the group, itself included.
            guard.communicate()

    def _read_log(self, start: int) -> str:
        with self.log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    def _find_port(self, text: str) -> int:
        match = self._spec.logged_port.search(text) if self._spec.logged_port else None
        return int(match[1]) if match else 0

    def _describe_log(self, start: int) -> str:
        lines = self._read_log(start).strip().splitlines()[-5:]
        return f"Its log {self.log} ends: {' | '.join(lines)[-600:] or 'nothing'}"


def start_prometheus(
    data_dir: Path,
    config: str | Path | None = None,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
) -> EngineProcess:
    """Starts Prometheus over a data folder.

    The configuration is a file, or its text; without one nothing is scraped. Raises EngineUnavailable or EngineFailed.
    """
    engine = engine or engines.find_engine("prometheus", progress=progress)
    data_dir.mkdir(parents=True, exist_ok=True)
    file = config if isinstance(config, Path) else data_dir / "prometheus.yml"
    if not isinstance(config, Path):
        # It may hold a token.
        file.touch(0o600)
        file.chmod(0o600)
        file.write_text(config or "{}\n", encoding="utf-8")

    def command(port: int) -> list[str]:
        return [
            f"--config.file={file}",
            f"--storage.tsdb.path={data_dir}",
            f"--storage.tsdb.retention.time={retention}",
            f"--web.listen-address={HOST}:{port}",
            *extra_flags,
        ]

    logged_port = re.compile(r'msg="Listening on".*?\baddress=\S+:(\d+)')
    prefix = _path_prefix(extra_flags)
    spec = LaunchSpec("http", command, _check_http(f"{prefix}/-/ready"), logged_port)
    return EngineProcess(engine, spec, data_dir / "prometheus.log")


def start_victoria_metrics(
    data_dir: Path,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    progress: Progress = ignore_progress,
) -> EngineProcess:
    """Starts the single-node VictoriaMetrics over a data folder. Raises EngineUnavailable or EngineFailed."""
    engine = engine or engines.find_engine("victoria-metrics", progress=progress)
    data_dir.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        return [
            f"-storageDataPath={data_dir / 'data'}",
            f"-retentionPeriod={retention}",
            f"-httpListenAddr={HOST}:{port}",
            *extra_flags,
        ]

    spec = LaunchSpec("http", command, _check_http("/health"))
    return EngineProcess(engine, spec, data_dir / "victoria-metrics.log")


def backfill(
    openmetrics_file: Path,
    data_dir: Path,
    *,
    promtool: Engine | None = None,
    work: Work | None = None,
    longest_block: str = "24h",
) -> None:
    """Writes samples with timestamps as TSDB blocks into the data folder of a Prometheus.

    One that is running sees them within a minute. Raises EngineUnavailable, EngineFailed, or Abandoned with the work.
    """
    tool = promtool or engines.find_engine("promtool")
    data_dir.mkdir(parents=True, exist_ok=True)
    # promtool reads the whole file once per block, so few long blocks are faster than many of two hours.
    arguments = ["tsdb", "create-blocks-from", "openmetrics", "--quiet", f"--max-block-duration={longest_block}"]
    command = [str(tool.path), *arguments, str(openmetrics_file), str(data_dir)]
    done = (work or Work()).run(command, env=tool.environment())
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())[-600:]
        raise EngineFailed(f"promtool refused {openmetrics_file}: {reason}")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _path_prefix(flags: Sequence[str]) -> str:
    """The path prefix that --web.external-url gives to every route."""
    urls = [flag.partition("=")[2] for flag in flags if flag.startswith("--web.external-url=")]
    return urlsplit(urls[-1]).path.rstrip("/") if urls else ""


def _check_http(path: str) -> Callable[[int], bool]:
    """A check that is true when the path on a port answers 200."""

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
