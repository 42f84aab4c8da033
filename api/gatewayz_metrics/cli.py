"""The command `gatewayz-metrics`: serve, demo, check, catalogue."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.check import Check
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.host_settings import warn_of_unknown_settings
from gatewayz_metrics.http.server_protocol import create_protocol
from gatewayz_metrics.logs import configure_logging
from gatewayz_metrics.main import create_app
from gatewayz_metrics.prometheus_api.envelope import render_error
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.settings import Settings, read_settings

try:
    from uvloop import new_event_loop
except ImportError:  # it does not exist for Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Answers for the metrics of the GatewayZ gateway.")


def run() -> None:
    """Run the command; an expected failure is one sentence and exit code 1."""
    try:
        app()
    except ConfigurationError as exc:
        _fail(exc)


@app.command()
def serve() -> None:
    """Serve an upstream that is there already; the settings name it."""
    _run(_serve(read_settings()))


@app.command()
def demo() -> None:
    """Serve a simulated gateway with an hour of history; PROMETHEUS_URL set means that upstream instead."""
    if os.environ.get("PROMETHEUS_URL"):
        _run(_serve(read_settings(), print_banner=True))
    else:
        _simulate()


@app.command()
def check(
    url: Annotated[str, typer.Argument(help="Where the service is, such as http://localhost:8000.")],
    token: Annotated[str, typer.Option(envvar="API_TOKEN", help="Bearer token to show.")] = "",
    catalogue: Annotated[Path | None, typer.Option(help="The deployment's catalogue, if it has its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
) -> None:
    """Ask every route of a deployment and judge the answers; exit code 1 when something fails."""
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is not a URL such as http://localhost:8000.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=15, trust_env=False) as client:
        findings = list(Check(client, load(catalogue)).run())
    failed = sum(not finding.ok for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [finding.as_dict() for finding in findings]}, indent=2))
    else:
        table = Table("Route", "What", "", "Found", title=f"{url}: {len(findings) - failed} pass, {failed} fail")
        for finding in findings:
            verdict = "[green]pass[/]" if finding.ok else "[bold red]FAIL[/]"
            table.add_row(finding.route, finding.what, verdict, finding.detail)
        Console().print(table)
    raise typer.Exit(1 if failed else 0)


@app.command()
def catalogue(
    path: Annotated[Path | None, typer.Argument(help="A catalogue file; the setting CATALOGUE when absent.")] = None,
) -> None:
    """Print the catalogue as tables, and with them say that it is valid."""
    settings = read_settings()
    found = load(path or settings.catalogue)
    slots = Slots(settings.selector, found.window)
    families = Table("Family", "Type", "Unit", "By", "Categories", "Meaning", title=f"{found.title}: families")
    for family in found.families:
        row = (family.name, family.type, family.unit, ", ".join(family.by), ", ".join(family.categories), family.help)
        families.add_row(*row)
    statistics = Table("Statistic", "Unit", "Meaning", "Expression", title=f"{found.title}: statistics")
    for statistic in found.statistics:
        statistics.add_row(statistic.name, statistic.unit, statistic.help, slots.fill(statistic.expr))
    # Piped into a file, a table keeps its columns instead of squeezing them into 80 characters.
    Console(width=None if sys.stdout.isatty() else 240).print(families, statistics)


class _Server(uvicorn.Server):
    """A server that greets once it answers."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            typer.echo(self._greeting)


def _simulate() -> None:
    # Imported here and nowhere else: it locks files with fcntl, which only Unix has, and `check` runs anywhere.
    try:
        from gatewayz_demo.errors import DemoError  # noqa: PLC0415
        from gatewayz_demo.run import embedded_upstream  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigurationError(
            f"The simulated gateway cannot run here ({exc}); name a server: PROMETHEUS_URL=http://localhost:9090."
        ) from exc

    async def simulate() -> None:
        listening = _listen(read_settings())
        async with embedded_upstream(progress=typer.echo) as url:
            await _serve(read_settings(prometheus_url=url), listening, print_banner=True)

    try:
        _run(simulate())
    except DemoError as exc:
        _fail(exc)


async def _serve(settings: Settings, listening: socket.socket | None = None, *, print_banner: bool = False) -> None:
    """Serve until a signal ends it; `print_banner` prints what to try once it listens."""
    configure_logging(settings.log_format, settings.log_level)
    warn_of_unknown_settings()
    load(settings.catalogue)  # a broken one stops the start here, with its sentence
    listening = listening or _listen(settings)
    config = uvicorn.Config(
        create_app(settings),
        http=create_protocol(lambda error: render_error(error)[1]),
        access_log=False,
        server_header=False,
        ws="none",
        log_level="warning",
        timeout_keep_alive=65,  # above the idle time of common proxies, which would else meet closed connections
        timeout_graceful_shutdown=20,
        limit_concurrency=500,
    )
    greeting = _banner(settings, listening) if print_banner else f"Listening on {_address(settings, listening)}"
    await _Server(config, greeting).serve([listening])


def _listen(settings: Settings) -> socket.socket:
    """The socket, taken before anything slow begins, so that a taken port is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named; with it answers take 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as exc:
        listening.close()
        raise ConfigurationError(
            f"Port {settings.port} on {settings.host} cannot be used ({exc.strerror}); "
            "end what listens there or choose another port: PORT=8001."
        ) from exc
    return listening


def _address(settings: Settings, listening: socket.socket) -> str:
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104  # compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def _banner(settings: Settings, listening: socket.socket) -> str:
    base = _address(settings, listening)
    token = " -H 'Authorization: Bearer <one of API_TOKENS>'" if settings.api_tokens else ""
    lines = [
        "",
        f"GatewayZ Metrics answers for {settings.prometheus_url}. Try:",
        "",
        f"  curl -s{token} {base}/prometheus/metrics/summary",
        f"  curl -s{token} '{base}/prometheus/metrics/summary?category=http&values=number'",
        f"  curl -s{token} {base}/prometheus/metrics/providers",
        f"  curl -s{token} {base}/prometheus/metrics/all",
        f"  curl -s{token} {base}/prometheus/metrics/docs",
        f"  curl -s{token} -d 'query=sum(rate(fastapi_requests_total[5m]))' {base}/api/v1/query",
        f"  curl -s {base}/readyz",
        "",
        f"In Grafana, {base} is the URL of a Prometheus datasource and of a JSON datasource.",
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        typer.echo("Ended.")


def _fail(reason: Exception) -> NoReturn:
    typer.echo(f"gatewayz-metrics: {reason}", err=True)
    sys.exit(1)
