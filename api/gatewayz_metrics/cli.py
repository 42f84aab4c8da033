"""The command `gatewayz-metrics`: serve, demo, check, purge; `commands` has the others."""

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewayz_metrics.access import find_own_token
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.check import Check, Finding
from gatewayz_metrics.commands.catalogue import catalogue_commands
from gatewayz_metrics.commands.dashboards import write_dashboards
from gatewayz_metrics.commands.doctor import doctor
from gatewayz_metrics.commands.progress import show_progress
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.event_loop import new_event_loop
from gatewayz_metrics.host_settings import warn_of_unknown_settings
from gatewayz_metrics.logs import configure_logging
from gatewayz_metrics.main import create_app
from gatewayz_metrics.operations.purge import PURGE
from gatewayz_metrics.server.listener import base_url, bind_socket
from gatewayz_metrics.server.listeners import Listeners
from gatewayz_metrics.server.serve import serve as serve_application
from gatewayz_metrics.server.supervisor import Supervisor
from gatewayz_metrics.settings import Settings, read_settings
from gatewayz_metrics.worker import COMMAND as WORKER

app = typer.Typer(no_args_is_help=True, help="Answers for the metrics of the GatewayZ gateway.")

PortOption = Annotated[int | None, typer.Option(help="Port to listen on, in place of PORT.")]


def _print_version(asked: bool) -> None:  # typer's own form of a callback
    if asked:
        typer.echo(f"gatewayz-metrics {version('gatewayz-metrics')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Answers for the metrics of the GatewayZ gateway."""


def run() -> None:
    """Run the command; an expected failure is one sentence and exit code 1."""
    try:
        app()
    except ConfigurationError as exc:
        _fail(exc)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, in place of HOST.")] = None,
    port: PortOption = None,
    url: Annotated[str | None, typer.Option(help="The upstream, in place of PROMETHEUS_URL.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with tokens, one a line, in place of API_TOKENS_FILE.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve, in place of WORKERS.")] = None,
) -> None:
    """Serve an upstream that is there already. All other settings are environment variables or stand in .env."""
    read = partial(read_settings, host=host, port=port, prometheus_url=url, api_tokens_file=token_file, workers=workers)
    settings = read()
    _run(_serve(settings) if settings.workers == 1 else _supervise(settings, read))


@app.command()
def demo(
    port: PortOption = None,
    *,
    minutes_of_history: Annotated[
        int, typer.Option(min=1, max=720, help="Minutes of history that are there from the start.")
    ] = 120,
    background: Annotated[
        bool, typer.Option(help="Add thirty days of older, coarser history in the background.")
    ] = True,
    spec_families: Annotated[
        bool, typer.Option("--spec-families", help="Also the specification's families that the real gateway lacks.")
    ] = False,
) -> None:
    """Serve a simulated gateway with history; PROMETHEUS_URL set means that upstream instead."""
    if os.environ.get("PROMETHEUS_URL"):
        _run(_serve(read_settings(port=port), is_demo=True))
    else:
        _simulate(port, minutes_of_history / 60, has_background=background, spec_families=spec_families)


@app.command()
def check(
    url: Annotated[str, typer.Argument(help="Where the service is, such as http://localhost:8000.")],
    *,
    token: Annotated[str, typer.Option(envvar="API_TOKEN", help="Bearer token to show.")] = "",
    catalogue: Annotated[Path | None, typer.Option(help="The deployment's catalogue, if it has its own.")] = None,
    prometheus_api: Annotated[str | None, typer.Option(help="The path above /api/v1, if not the root.")] = None,
    json_datasource: Annotated[str | None, typer.Option(help="The JSON datasource's path, if not the root.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    watch: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Repeat after so long, until stopped.")] = 0,
) -> None:
    """Ask every route of a deployment and judge the answers; exit code 1 when something fails."""
    wanted = load(catalogue)

    def run_once(client: httpx.Client) -> int:
        with show_progress(f"Asking {url}") as show:
            found = Check(client, wanted, prometheus_api=prometheus_api, json_datasource=json_datasource, progress=show)
            findings = list(found.run())
        return _report(url, findings, as_json=as_json)

    with _connect(url, token) as client:
        failed = run_once(client)
        while watch:
            time.sleep(watch)
            failed = run_once(client)
    raise typer.Exit(1 if failed else 0)


def _report(url: str, findings: list[Finding], *, as_json: bool) -> int:
    """Prints the findings and returns how many are failures."""
    failed = sum(not finding.ok for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [finding.as_dict() for finding in findings]}, indent=2))
    else:
        table = Table("Route", "What", "", "Found", title=f"{url}: {len(findings) - failed} pass, {failed} fail")
        for finding in findings:
            verdict = "[green]pass[/]" if finding.ok else "[bold red]FAIL[/]"
            # Markup would eat what stands in brackets in an answer.
            table.add_row(finding.route, finding.what, verdict, escape(finding.detail))
        Console().print(table)
    return failed


@app.command()
def purge(
    url: Annotated[str, typer.Argument(help="Where the service is, such as http://localhost:8000.")],
    token: Annotated[str, typer.Option(envvar="API_TOKEN", help="Bearer token to show.")] = "",
) -> None:
    """Make a deployment forget every kept answer, as after deletions or a back-fill."""
    with show_progress(f"Asking {url}"):
        size = _forget(url, token)
    typer.echo(f"{url} has forgotten all that it kept, {size:,} bytes of range queries among it.")


def _forget(url: str, token: str) -> int:
    """Purge a deployment; the bytes of range queries that it had. Raises ConfigurationError."""
    try:
        with _connect(url, token) as client:
            answer = client.post(PURGE)
        body = answer.json()
        size = int(body["range_cache_bytes"]) if answer.status_code == 200 else 0
    except httpx.ConnectError as exc:
        why = f"it cannot be reached ({exc}); check the URL and that the service runs."
        raise ConfigurationError(f"{url} is not purged: {why}") from exc
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(f"{url} is not purged: {type(exc).__name__}: {exc}".rstrip(": ") + ".") from exc
    if answer.status_code != 200:
        raise ConfigurationError(f"{url} is not purged (HTTP {answer.status_code}): {body.get('error')}")
    return size


app.command()(doctor)
app.add_typer(catalogue_commands, name="catalogue")
app.command("dashboards")(write_dashboards)


def _connect(url: str, token: str) -> httpx.Client:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is not a URL such as http://localhost:8000.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=15, trust_env=False)


def _simulate(port: int | None, hours: float, *, has_background: bool, spec_families: bool) -> None:
    # Imported here and nowhere else: it locks files with fcntl, which only Unix has, and `check` runs anywhere.
    try:
        from gatewayz_demo.background import DAYS  # noqa: PLC0415
        from gatewayz_demo.errors import DemoError, DiskFull  # noqa: PLC0415
        from gatewayz_demo.run import Demo, embedded_upstream  # noqa: PLC0415
        from gatewayz_demo.scrape import OwnPage  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigurationError(
            f"The simulated gateway cannot run here ({exc}); on Windows run it in WSL or in Docker (docker compose up "
            "--build), or name a server: PROMETHEUS_URL=http://localhost:9090."
        ) from exc

    # The simulated gateway's own server would tell of its end among the lines of the service.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    async def simulate() -> None:
        settings = read_settings(port=port)
        bound = bind_socket(settings)
        base, token = base_url(bound), find_own_token(settings)

        def forget() -> None:
            """What was asked before the older history came is kept as absent."""
            try:
                _forget(base, token)
            except ConfigurationError as exc:
                _say(str(exc))

        demo = Demo(
            progress=_say,
            hours=hours,
            days=DAYS if has_background else 0,
            spec_families=spec_families,
            own=OwnPage(base.removeprefix("http://"), token),
            on_history=forget,
        )
        async with AsyncExitStack() as stack:
            with show_progress("Starting") as show:
                url = await stack.enter_async_context(embedded_upstream(replace(demo, working=show)))
            await _serve(read_settings(prometheus_url=url, port=port), bound, is_demo=True)

    try:
        _run(simulate())
    except (DemoError, OSError) as exc:
        told = DiskFull.behind(exc) or exc
        if isinstance(told, OSError):
            raise
        _fail(told)


async def _serve(settings: Settings, bound: socket.socket | None = None, *, is_demo: bool = False) -> None:
    """Serve until a signal ends it; the demo prints what to try once it listens."""
    _prepare(settings)
    bound = bound or bind_socket(settings)
    greeting = _banner(settings, bound) if is_demo else f"Listening on {base_url(bound)}"
    application = create_app(settings)
    await serve_application(
        application,
        settings,
        bound,
        on_listening=lambda: _say(greeting),
        # A demo ends with its terminal.
        on_hangup=None if is_demo else application.state.services.reload,
    )


async def _supervise(settings: Settings, read: Callable[[], Settings]) -> None:
    """Serve by several processes; `read` gives the settings anew."""
    if sys.platform == "win32":
        raise ConfigurationError(
            "WORKERS above 1 needs Linux, macOS or another Unix; here, run a process for each port and a proxy "
            "before them."
        )
    _prepare(settings)
    listeners = Listeners(settings)
    supervisor = Supervisor(settings, listeners, WORKER)
    await supervisor.run(on_listening=lambda: _say(f"Listening on {listeners.url}"), read=read)


def _prepare(settings: Settings) -> None:
    configure_logging(settings.log_format, settings.log_level)
    warn_of_unknown_settings()
    load(settings.catalogue)  # a broken one stops the start here, with its sentence


def _say(text: str) -> None:
    """Print for whoever watches; that nobody can read it, as on a full disk, is no reason to fail."""
    try:
        typer.echo(text)
    except OSError:
        # What is left in the buffer would fail once more at the end.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a device
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _banner(settings: Settings, bound: socket.socket) -> str:
    base = base_url(bound)
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
        f"In a browser, {base} is the status page.",
        f"In Grafana, {base} is the URL of a Prometheus datasource and of a JSON datasource.",
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(main)
        except KeyboardInterrupt:  # before the service listens, or on Windows
            _say("Ended.")
            sys.stdout.flush()
            # What was begun is closed; to leave the loop in good order would be to wait for its threads, which may
            # write history for seconds. What they leave behind is taken for unfinished by the next start.
            os._exit(0)
    _say("Ended.")


def _fail(reason: Exception) -> NoReturn:
    typer.echo(f"gatewayz-metrics: {reason}", err=True)
    sys.exit(1)
