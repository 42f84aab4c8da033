"""Build your own: a panel of every kind of query, to be copied."""

import json
from dataclasses import replace

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import queries, theme
from dashboards.board import Row, board
from dashboards.expressions import Expression
from dashboards.panels import graph, heat, words
from dashboards.queries import Built, Line
from dashboards.service_panels import counted, described, statistic
from dashboards.tables import KeyColumn, ValueColumn, from_service
from dashboards.variables import BoardVariables

CALLS = "model_inference_requests_total"
SECONDS = "model_inference_duration_seconds"

# What is typed for a variable and for an annotation of the JSON datasource.
VARIABLE = f"label_values({CALLS}, provider)"
ANNOTATION = 'circuit_breaker_current_state{state="open"} == 1'
ANNOTATION_PAYLOAD = {"text": "{{provider}} is cut off", "tags": "breaker"}

_HOW = f"""
In a panel's menu choose *More, Copy*, paste it into a dashboard of your own, and change the query. \
Each description says what to change.

| | By the JSON datasource | By the Prometheus datasource |
|---|---|---|
| variable | `{VARIABLE}` | as *Provider* above, in the settings of this dashboard |
| annotation | `{ANNOTATION}`, payload `{json.dumps(ANNOTATION_PAYLOAD)}` | as *Gateway restarts*, there |
"""


def build(v: BoardVariables) -> Dashboard:
    """One panel of every kind."""
    return board(
        v,
        "gw-examples",
        "Build your own",
        "How is a panel of each kind made?",
        variables=[v.datasource(), v.env(), v.provider()],
        rows=[("How", [words("How to copy", _HOW, size=(24, 6))]), _by_name(v), _tables(v), _promql(v)],
        since="now-3h",
        refresh="1m",
    )


def _by_name(v: BoardVariables) -> Row:
    calls = v.gateway.rate(CALLS)
    return "By a name of the catalogue, without PromQL", [
        _named(
            "A statistic over time",
            described(v, "http.error_rate"),
            queries.from_catalogue("http.error_rate", legend="failed requests"),
            legend="failed requests",
            note="Metric: its name. Payload: the legend alone.",
        ),
        _named(
            "A family as a rate",
            calls,
            queries.from_catalogue(CALLS, function="rate", by="provider", legend="{{provider}}"),
            legend="{{provider}}",
            note="Metric: its name. Payload: the function, and the label that lines are drawn by.",
        ),
        counted(v, "Numbers side by side", "http.in_progress", "providers.total_providers", size=(8, 8)),
    ]


def _named(title: str, about: Expression, query: Built, *, legend: str, note: str) -> timeseries.Panel:
    """A graph of what the JSON datasource answers to a name."""
    panel = graph(title, Line(about, legend), note=note, size=(8, 8))
    return panel.targets([query]).datasource(queries.JSON)


def _tables(v: BoardVariables) -> Row:
    seconds = v.gateway.quantile(0.95, SECONDS)
    calls = replace(v.gateway.rate(CALLS), unit="reqps")
    return "A table, and a number of the summary", [
        from_service(
            "A table of two families",
            [KeyColumn("provider", least=110)],
            [
                ValueColumn("95th percentile", seconds, theme.above(5, 20), words=theme.or_more(60), width=130),
                ValueColumn("Calls", calls, width=100),
            ],
            [_column(SECONDS, "p95", "95th percentile"), _column(CALLS, "rate", "Calls")],
            sort="Calls",
            note="Format: table. Join: one row for what has the same labels. The legend names the column.",
            size=(16, 10),
        ),
        statistic(
            v,
            "http.avg_latency_ms",
            title="A number by Infinity",
            note="URL: the summary with a category. Root selector: the section. Column: the statistic.",
            size=(8, 10),
        ),
    ]


def _column(family: str, function: str, title: str) -> Built:
    return queries.from_catalogue(family, format="table", join=True, function=function, by="provider", legend=title)


def _promql(v: BoardVariables) -> Row:
    chosen = v.providers
    return "PromQL", [
        graph(
            "An expression",
            Line(chosen.rate(CALLS, ["provider"]), "{{provider}}"),
            note="Every selector has the variables of the board; the window follows the width of a point.",
        ),
        heat("A distribution", chosen.buckets(SECONDS), note="Format: heatmap."),
    ]
