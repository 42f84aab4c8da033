"""The engines as child processes, and samples put into their data folders."""

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from gatewayz_metrics.demo import engines
from gatewayz_metrics.demo.engines import Engine
from gatewayz_metrics.demo.errors import EngineFailed
from gatewayz_metrics.demo.process import HOST, Blueprint, EngineProcess
from gatewayz_metrics.demo.say import Say, silent

__all__ = ["HOST", "EngineProcess", "backfill", "prometheus", "redis", "victoria_metrics"]


def prometheus(
    data_dir: Path,
    config: str | Path | None = None,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    say: Say = silent,
) -> EngineProcess:
    """Prometheus over a data folder; the configuration is a file, or text, or nothing to scrape."""
    engine = engine or engines.find("prometheus", say=say)
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
    blueprint = Blueprint("http", command, _answers(f"{prefix}/-/ready"), listening)
    return EngineProcess(engine, blueprint, data_dir / "prometheus.log")


def victoria_metrics(
    data_dir: Path,
    *,
    retention: str = "100y",
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    say: Say = silent,
) -> EngineProcess:
    """VictoriaMetrics, the single server, over a data folder."""
    engine = engine or engines.find("victoria-metrics", say=say)
    data_dir.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        return [
            f"-storageDataPath={data_dir / 'data'}",
            f"-retentionPeriod={retention}",
            f"-httpListenAddr={HOST}:{port}",
            *extra_flags,
        ]

    blueprint = Blueprint("http", command, _answers("/health"))
    return EngineProcess(engine, blueprint, data_dir / "victoria-metrics.log")


def redis(
    data_dir: Path,
    *,
    extra_flags: Sequence[str] = (),
    engine: Engine | None = None,
    say: Say = silent,
) -> EngineProcess:
    """Redis that keeps nothing on disk."""
    engine = engine or engines.find("redis-server", say=say)
    data_dir.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        memory_only = ["--save", "", "--appendonly", "no"]
        return ["--bind", HOST, "--port", str(port), "--dir", str(data_dir), *memory_only, *extra_flags]

    return EngineProcess(engine, Blueprint("redis", command, _pongs), data_dir / "redis.log")


def backfill(openmetrics_file: Path, data_dir: Path, *, promtool: Engine | None = None) -> None:
    """Writes samples with timestamps as blocks that a Prometheus over this folder then has."""
    tool = promtool or engines.find("promtool")
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


def _pongs(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False
