"""Queries of the three datasources: Prometheus by the SDK, the JSON datasource and Infinity by classes of our own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.expressions import Expression

PROMETHEUS_NAME: Final = "GatewayZ"
PROMETHEUS_UID: Final = "gatewayz-prometheus"
JSON_UID: Final = "gatewayz-json"
SUMMARY_UID: Final = "gatewayz-summary"
JSON_PLUGIN: Final = "simpod-json-datasource"
INFINITY_PLUGIN: Final = "yesoreyeram-infinity-datasource"

CHOSEN = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Fixed: a variable for each kind would have to be named after its plugin, and these names hold hyphens.
JSON = DataSourceRef(type_val=JSON_PLUGIN, uid=JSON_UID)
SUMMARY = DataSourceRef(type_val=INFINITY_PLUGIN, uid=SUMMARY_UID)

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """An expression and what its series are called in the legend."""

    expression: Expression
    legend: str


def over_time(line: Line, *, exemplars: bool = False) -> prometheus.Dataquery:
    """The expression at every step of the dashboard's range, with single observations behind it where some are kept."""
    query = prometheus.Dataquery().expr(line.expression.promql).legend_format(line.legend).range()
    return query.exemplar(True) if exemplars else query


def at_the_end(line: Line) -> prometheus.Dataquery:
    """The expression at the end of the range, one value per series."""
    return prometheus.Dataquery().expr(line.expression.promql).legend_format(line.legend).instant()


def as_rows(expression: Expression) -> prometheus.Dataquery:
    """The expression at the end of the range, a table row per series."""
    return prometheus.Dataquery().expr(expression.promql).instant().format(PromQueryFormat.TABLE)


def as_heat(expression: Expression) -> prometheus.Dataquery:
    """The buckets of a histogram over time."""
    query = prometheus.Dataquery().expr(expression.promql).legend_format("{{le}}")
    return query.range().format(PromQueryFormat.HEATMAP)


@dataclass
class JsonQuery(Dataquery):
    """A target of the JSON datasource: a name of the catalogue and what to make of it."""

    target: str
    payload: Mapping[str, str | bool]
    ref_id: str = ""

    def to_json(self) -> Document:
        """The target as the plugin stores it; in code mode the payload is text."""
        payload = json.dumps(self.payload, sort_keys=True)
        return {"editorMode": "code", "payload": payload, "refId": self.ref_id, "target": self.target}


@dataclass
class SummaryQuery(Dataquery):
    """A target of Infinity: one section of the summary as a row of numbers."""

    section: str
    columns: tuple[str, ...]
    ref_id: str = ""
    url: str = "/prometheus/metrics/summary"
    params: Mapping[str, str] = field(default_factory=dict)
    kind: str = "number"

    def to_json(self) -> Document:
        """The target as the plugin stores it; left out, `parser` would mean the browser's old one."""
        return {
            "columns": [{"selector": name, "text": name, "type": self.kind} for name in self.columns],
            "filters": [],
            "format": "table",
            "parser": "backend",
            "refId": self.ref_id,
            "root_selector": self.section,
            "source": "url",
            "type": "json",
            "url": self.url,
            "url_options": {
                "method": "GET",
                "params": [{"key": key, "value": value} for key, value in self.params.items()],
            },
        }


@dataclass
class Built(Builder[Dataquery]):
    """A query that needs no building, for where the SDK wants a builder."""

    query: Dataquery

    def build(self) -> Dataquery:
        """The query."""
        return self.query


def from_catalogue(name: str, **payload: str | bool) -> Built:
    """A family or statistic by the JSON datasource."""
    return Built(JsonQuery(name, payload))


def from_summary(statistic: str) -> Built:
    """One number of the summary."""
    section, _, key = statistic.partition(".")
    return Built(SummaryQuery(f"metrics.{section}", (key,), params={"category": section, "values": "number"}))


def from_readiness() -> Built:
    """Whether the service can ask its upstream, in a word; it answers when nothing else does."""
    return Built(SummaryQuery("", ("status",), url="/readyz", kind="string"))


def from_outage(otherwise: str) -> Built:
    """Why the service has no numbers, in a sentence; `otherwise` while it has some.

    Of the summary: /readyz tells its reason to callers with a token alone. Without a sentence of its own a good answer
    would look like none at all. Infinity reads what is no path as JSONata.
    """
    return Built(SummaryQuery(f"$merge([{json.dumps({'error': otherwise})}, $])", ("error",), kind="string"))
