"""`gatewayz-metrics catalogue init`: a catalogue file for another system, proposed from what its Prometheus knows."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from gatewayz_metrics.catalogue import parse_catalogue
from gatewayz_metrics.catalogue.proposal import ObservedFamily, observe_families, propose_catalogue
from gatewayz_metrics.commands.progress import show_progress
from gatewayz_metrics.errors import ConfigurationError, NotServed, ServiceError
from gatewayz_metrics.promql.rewrite import inject_matchers
from gatewayz_metrics.settings import read_settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamApi, UpstreamClient
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint, Pairs
from gatewayz_metrics.upstream.response import parse_envelope, parse_refusal

# Seconds of the past whose series count.
_RECENT = 3600
_MOST_FAMILIES = 300


def init(
    url: Annotated[str | None, typer.Option(help="The upstream, in place of PROMETHEUS_URL.")] = None,
    match: Annotated[str, typer.Option(help='Only series of a selector, such as {job="shop"}.')] = "",
    out: Annotated[Path, typer.Option(help="The file to write; one that exists is kept.")] = Path("catalogue.toml"),
) -> None:
    """Propose a catalogue file for another system, from the names, types, help and labels that its Prometheus has.

    What exporters say of themselves is left out unless --match asks for it. Units and help are yours to correct.
    """
    settings = read_settings(prometheus_url=url)
    if out.exists():
        raise ConfigurationError(f"{out} is there already and is kept; name another file with --out.")
    title = urlsplit(settings.prometheus_url).netloc.rpartition("@")[2]
    text = asyncio.run(_propose(UpstreamClient(settings, Telemetry()), title, match))
    found = parse_catalogue(text, str(out))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise ConfigurationError(f"{out} cannot be written ({exc}); name another file with --out.") from None
    count = f"{len(found.families)} families and {len(found.statistics)} statistics"
    typer.echo(f"{out}: {count}. Read it, correct units and help, then serve it: CATALOGUE={out}")


async def _propose(client: UpstreamClient, title: str, match: str) -> str:
    async with client:
        try:
            with show_progress("Reading names and types") as show:
                survey = _Survey(client, match)
                families, left_out = observe_families(
                    await survey.names(), await survey.metadata(), with_exporters=bool(match)
                )
                _check_count(len(families))
                labelled = []
                for number, family in enumerate(families, 1):
                    show(f"Reading labels, {number} of {len(families)}")
                    labelled.append(replace(family, labels=await survey.labels(family)))
        except ServiceError as exc:
            raise ConfigurationError(exc.sentence) from exc
    return propose_catalogue(title, labelled, left_out)


def _check_count(families: int) -> None:
    if not families:
        raise ConfigurationError("There is no such series within the last hour; look at --match and PROMETHEUS_URL.")
    if families > _MOST_FAMILIES:
        raise ConfigurationError(
            f"There are {families:,} families, more than the {_MOST_FAMILIES} that a catalogue takes here; "
            "name fewer with --match, such as --match '{job=\"shop\"}'."
        )


class _Survey:
    """What one upstream has, within a selector."""

    def __init__(self, upstream: UpstreamApi, match: str) -> None:
        self._upstream = upstream
        self._match = match
        now = int(time.time())
        self._recent: Pairs = (("start", str(now - _RECENT)), ("end", str(now)))

    async def names(self) -> frozenset[str]:
        """The names of all metrics."""
        match: Pairs = (("match[]", self._match),) if self._match else ()
        return frozenset(await self._ask(ApiRequest(Endpoint.LABEL_VALUES, (*match, *self._recent), "__name__")))

    async def metadata(self) -> dict[str, tuple[str, str]]:
        """Type and help by name; nothing from an engine that keeps none."""
        try:
            found = await self._ask(ApiRequest(Endpoint.METADATA))
        except NotServed:
            return {}
        return {name: (str(one[0].get("type", "")), str(one[0].get("help", ""))) for name, one in found.items() if one}

    async def labels(self, family: ObservedFamily) -> tuple[str, ...]:
        """The labels of a family's series."""
        try:
            match = inject_matchers(self._match, f'__name__="{family.sample}"') if self._match else family.sample
        except ValueError as exc:
            raise ConfigurationError(f"--match cannot be used: {exc}") from exc
        found = await self._ask(ApiRequest(Endpoint.LABELS, (("match[]", match), *self._recent)))
        return tuple(label for label in found if label != "__name__")

    async def _ask(self, request: ApiRequest) -> Any:
        answer = await self._upstream.forward(request)
        if not answer.is_success:
            raise parse_refusal(answer.body) or ConfigurationError("The upstream refuses to be asked.")
        return parse_envelope(answer.body)["data"]
