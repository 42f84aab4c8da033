"""Numbers that the service answers itself, without PromQL: one small request each, also when queries are slow."""

from collections.abc import Iterable, Sequence

from gatewayz_metrics.catalogue import grafana_unit
from grafana_foundation_sdk.builders import stat

from dashboards import panels, queries, theme
from dashboards.expressions import Expression
from dashboards.links import Link
from dashboards.variables import BoardVariables

_SPELT = {
    "avg": "average",
    "api": "API",
    "db": "DB",
    "fastapi": "FastAPI",
    "gatewayz": "GatewayZ",
    "ttfb": "TTFB",
    "usd": "USD",
}
NOT_DEGRADED = "It is not: the upstream answers"
_NOTE = "The service's own answer for the deployment that its SELECTOR names, whatever the variables above say."


def statistic(
    v: BoardVariables,
    name: str,
    *,
    title: str = "",
    note: str = "",
    steps: theme.Steps | None = None,
    links: Sequence[Link] = (),
    size: tuple[int, int] = (4, 4),
    empty: str = "Not measured",
) -> stat.Panel:
    """One number of the summary, as of now."""
    about = described(v, name)
    targets = [queries.from_summary(name)]
    return panels.dressed(
        panels.blank_number(empty),
        title or title_of(name),
        about,
        targets,
        note=f"{note} {_NOTE}".strip(),
        steps=steps,
        links=links,
        size=size,
        source=queries.SUMMARY,
        empty=empty,
    )


def counted(
    v: BoardVariables,
    title: str,
    *names: str,
    size: tuple[int, int] = (12, 4),
) -> stat.Panel:
    """Several statistics side by side, by the JSON datasource."""
    targets = [queries.from_catalogue(name, instant=True, legend=title_of(name)) for name in names]
    about, *_ = [described(v, name) for name in names]
    panel = panels.blank_number(named=True)
    return panels.dressed(panel, title, about, targets, note=_NOTE, size=size, source=queries.JSON)


def readiness(*, size: tuple[int, int] = (4, 4)) -> stat.Panel:
    """Whether the service reaches its upstream."""
    about = Expression("", "string", "Whether the service reaches the Prometheus it asks: ok, or degraded.")
    note = "Where this says degraded, every other panel is empty for that reason."
    panel = panels.blank_number(fields="/.*/")
    panels.dressed(
        panel,
        "Metrics service",
        about,
        [queries.from_readiness()],
        note=note,
        steps=theme.dead(),
        size=size,
        source=queries.SUMMARY,
        empty="no answer",
    )
    return panel.mappings([theme.texts(ok=("ok", theme.GREEN), degraded=("degraded", theme.RED))])


def reason(*, size: tuple[int, int] = (24, 3)) -> stat.Panel:
    """Why the upstream is not reached, in the service's own words."""
    about = Expression("", "string", "Why the service cannot ask its upstream, as its summary says it.")
    panel = panels.blank_number(fields="/.*/")
    panels.dressed(
        panel,
        "Why degraded",
        about,
        [queries.from_outage(NOT_DEGRADED)],
        steps=theme.dead(),
        size=size,
        source=queries.SUMMARY,
        empty="The service does not answer",
    )
    # Of null, too, the panel says what it has for no answer.
    return panel.mappings([theme.texts(**{NOT_DEGRADED: (NOT_DEGRADED, theme.GREY)})])


def described(v: BoardVariables, name: str) -> Expression:
    """A statistic's unit and meaning. Raises NotInCatalogue."""
    found = v.metrics.statistic(name)
    return Expression("", grafana_unit(found.unit), found.help)


def title_of(name: str) -> str:
    """A statistic's key as people write it: `avg_latency_ms` is the average latency."""
    return spelt(name.partition(".")[2].removesuffix("_ms").split("_"))


def spelt(words: Iterable[str]) -> str:
    """The words of a name as people write them, with a capital letter."""
    text = " ".join(_SPELT.get(word, word) for word in words)
    return text[:1].upper() + text[1:]
