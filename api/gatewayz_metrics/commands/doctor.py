"""`gatewayz-metrics doctor`: what a colleague would ask first about a deployment that shows too little.

It runs the service in its own process over the upstream of the settings and asks the service's routes.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewayz_metrics.access import find_own_token
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.check import Finding
from gatewayz_metrics.commands.progress import show_progress
from gatewayz_metrics.main import create_app
from gatewayz_metrics.settings import Settings, read_settings

_SKEW = re.compile(r"^gatewayz_metrics_upstream_clock_skew_seconds (\S+)$", re.MULTILINE)
_ABSENT = re.compile(r"^# (\S+): (.+)$", re.MULTILINE)
# Seconds by which clocks may differ before the newest points of graphs are missed.
_HARMLESS_SKEW = 5.0


def doctor(
    url: Annotated[str | None, typer.Option(help="The upstream, in place of PROMETHEUS_URL.")] = None,
    grafana: Annotated[str | None, typer.Option(help="A Grafana, to be asked for its version.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
) -> None:
    """Ask the upstream of the settings what it has, and say what will be N/A and why; exit code 1 when it is no help.

    Absent families are no fault: a gateway writes what it has.
    """
    # What the service would log is told as findings.
    logging.disable()
    settings = read_settings(prometheus_url=url)
    with show_progress(f"Asking {settings.prometheus_url}"):
        findings = asyncio.run(_collect(settings, grafana))
    failed = not all(finding.ok for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "findings": [finding.as_dict() for finding in findings]}, indent=2))
    else:
        table = Table("About", "What", "", "Found")
        for finding in findings:
            table.add_row(finding.route, finding.what, "" if finding.ok else "[bold red]!![/]", escape(finding.detail))
        Console().print(table)
    raise typer.Exit(1 if failed else 0)


async def _collect(settings: Settings, grafana: str | None) -> list[Finding]:
    return [finding async for finding in examine(settings, grafana)]


async def examine(settings: Settings, grafana: str | None = None) -> AsyncIterator[Finding]:
    """Every finding about the upstream of some settings, and about a Grafana where its URL is given."""
    catalogue = load(settings.catalogue)
    yield _examine_tokens(settings)
    app = create_app(settings)
    token = find_own_token(settings)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://doctor", headers=headers, timeout=60) as client,
    ):
        # A question that waits for its answer, as probes do not.
        summary = (await client.get("/prometheus/metrics/summary")).json()
        failure = summary.get("error")
        yield Finding("upstream", "answers", not failure, failure or settings.prometheus_url)
        if not failure:
            yield await _examine_version(client)
            yield await _examine_clock(client)
            absent = dict(_ABSENT.findall((await client.get("/prometheus/metrics/all")).text))
            there = len(catalogue.families) - sum(family.name in absent for family in catalogue.families)
            yield Finding("families", "have data", there > 0, f"{there} of {len(catalogue.families)}")
            for family in catalogue.families:
                if reason := absent.get(family.name):
                    yield Finding("families", family.name, reason == "no data", reason)
            for name, reason in summary.get("absent", {}).items():
                yield Finding("N/A", name, ok=True, detail=reason)
            for name, reason in summary.get("errors", {}).items():
                yield Finding("N/A", name, ok=False, detail=reason)
    if grafana is not None:
        yield await _examine_grafana(grafana)


def _examine_tokens(settings: Settings) -> Finding:
    tokens, tenants = len(settings.api_tokens), len(settings.tenants)
    told = f"{tokens} of API_TOKENS, {tenants} of TENANTS" if tokens else "none: everybody may ask"
    return Finding("service", "tokens", ok=True, detail=told)


async def _examine_version(client: httpx.AsyncClient) -> Finding:
    body = (await client.get("/api/v1/status/buildinfo")).json()
    version = (body.get("data") or {}).get("version")
    return Finding("upstream", "version", ok=True, detail=version or f"not told: {body.get('error')}")


async def _examine_clock(client: httpx.AsyncClient) -> Finding:
    found = _SKEW.search((await client.get("/metrics")).text)
    skew = float(found[1]) if found else 0.0
    told = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the upstream's" if skew else "agrees"
    return Finding("service", "clock", abs(skew) <= _HARMLESS_SKEW, told)


async def _examine_grafana(url: str) -> Finding:
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            version = (await client.get(f"{url.rstrip('/')}/api/health")).json()["version"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as exc:
        return Finding("grafana", "version", ok=False, detail=f"{type(exc).__name__}: {exc}")
    return Finding("grafana", "version", ok=True, detail=str(version))
