"""HTTP: which route is slow or failing, and is the process well?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import slo, theme
from dashboards import variables as v
from dashboards.board import Row, board
from dashboards.expressions import RANGE, Expression
from dashboards.panels import bars, graph, heat
from dashboards.queries import Line
from dashboards.tables import KeyColumn, ValueColumn, joined

REQUESTS = "fastapi_requests_total"
SECONDS = "fastapi_requests_duration_seconds"


def build() -> Dashboard:
    """Routes, errors, latency, process."""
    return board(
        "gw-http",
        "HTTP",
        "Which route is slow or failing, and is the process well?",
        variables=[v.datasource(), v.env(), v.app(), v.interval()],
        rows=[_traffic(), _errors(), _latency(), _routes(), _process()],
        since="now-3h",
    )


def _traffic() -> Row:
    return "Traffic", [
        graph("Busiest routes", Line(v.http.rate(REQUESTS, ["method", "path"]).top(10), "{{method}} {{path}}")),
        graph(
            "In progress by route",
            Line(v.http.total("fastapi_requests_in_progress", ["path"]).scaled("{} > 0", "short"), "{{path}}"),
        ),
    ]


def _errors() -> Row:
    return "Errors", [
        graph(
            "Share of failed requests",
            Line(slo.error_share(v.http, "$__rate_interval"), "5xx"),
            steps=theme.above(0.01, 0.05),
            size=(8, 8),
        ),
        graph(
            "Share of refused requests",
            Line(v.http.share(v.http.where('status_code=~"4.."'), REQUESTS), "4xx, all"),
            Line(v.http.share(v.http.where('status_code="429"'), REQUESTS), "429, rate limit"),
            size=(8, 8),
        ),
        bars(
            "Exceptions",
            Line(v.http.increase("fastapi_exceptions_total", ["exception_type"], "$interval"), "{{exception_type}}"),
            interval="$interval",
            size=(8, 8),
        ),
    ]


def _latency() -> Row:
    return "Latency", [
        heat("Durations", v.http.buckets(SECONDS), note="Brighter: more requests took that long."),
        graph(
            "Mean and 95th percentile",
            Line(v.http.mean(SECONDS), "mean"),
            Line(v.http.quantile(0.95, SECONDS), "p95"),
            steps=theme.above(2, 5),
            note="5 s means 5 s or more: the last bucket.",
        ),
    ]


def _routes() -> Row:
    return "Routes", [
        joined(
            "Every route",
            [KeyColumn("path")],
            [
                ValueColumn("Requests", v.http.increase(REQUESTS, ["path"]), bar=True),
                ValueColumn("Failed", slo.error_share(v.http, RANGE, ("path",)), theme.above(0.01, 0.05)),
                ValueColumn("95th percentile", v.http.quantile(0.95, SECONDS, ["path"], RANGE), theme.above(2, 5)),
            ],
            sort="Requests",
            note="Over the selected range.",
        )
    ]


def _process() -> Row:
    cpu = f"rate({v.gateway.raw('process_cpu_seconds_total')}[$__rate_interval])"
    memory = v.gateway.raw("process_resident_memory_bytes")
    files = f"{v.gateway.raw('process_open_fds')} / {v.gateway.raw('process_max_fds')}"
    return "Process", [
        graph("Processor", _of_gateways(cpu, "percentunit", "Processor time; 100% is one core."), size=(8, 8)),
        graph("Memory", _of_gateways(memory, "bytes", "Resident memory of the process."), size=(8, 8)),
        graph(
            "Open files",
            _of_gateways(files, "percentunit", "Open file descriptors, of those allowed."),
            steps=theme.above(0.7, 0.9),
            size=(8, 8),
        ),
    ]


def _of_gateways(promql: str, unit: str, about: str) -> Line:
    """A metric that every process has, of those alone that count gateway requests."""
    gateways = f"group by (job, instance) ({v.http.raw('fastapi_requests_in_progress')})"
    return Line(Expression(f"{promql} and on (job, instance) {gateways}", unit, about), "{{instance}}")
