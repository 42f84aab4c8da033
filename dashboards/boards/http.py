"""HTTP: which route is slow or failing, and is the process well?"""

from gatewayz_metrics.promql.build import aggregate, growth
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import slo, theme
from dashboards.board import Row, board
from dashboards.expressions import RANGE, RATE, TRAFFIC, Expression
from dashboards.panels import bars, graph, heat
from dashboards.queries import Line
from dashboards.tables import KeyColumn, ValueColumn, joined
from dashboards.variables import BoardVariables

SECONDS = "fastapi_requests_duration_seconds"


def build(v: BoardVariables) -> Dashboard:
    """Routes, errors, latency, process."""
    return board(
        v,
        "gw-http",
        "HTTP",
        "Which route is slow or failing, and since when?",
        variables=[v.datasource(), v.env(), v.app(), v.busiest("path", v.http, TRAFFIC), v.interval()],
        rows=[_routes(v), _errors(v), _traffic(v), _latency(v), _process(v)],
        since="now-3h",
    )


def _traffic(v: BoardVariables) -> Row:
    busiest = v.http.where('path=~"$busiest"')
    return "Traffic", [
        graph(
            "Busiest routes",
            Line(busiest.rate(TRAFFIC, ["path"]), "{{path}}"),
            note=f"The {theme.FEW_LINES} with most requests over the selected range.",
        ),
        graph(
            "In progress by route",
            Line(busiest.total("fastapi_requests_in_progress", ["path"]), "{{path}}"),
            note=f"Of the {theme.FEW_LINES} busiest routes.",
        ),
    ]


def _errors(v: BoardVariables) -> Row:
    return "Errors", [
        graph(
            "Share of failed requests",
            Line(slo.error_share(v.http, RATE), "5xx"),
            steps=theme.above(0.01, 0.05),
            size=(8, 8),
        ),
        graph(
            "Share of refused requests",
            Line(v.http.share(v.http.where('status_code=~"4.."'), TRAFFIC), "4xx, all"),
            Line(v.http.share(v.http.where('status_code="429"'), TRAFFIC), "429, rate limit"),
            size=(8, 8),
        ),
        bars(
            "Exceptions",
            Line(v.http.increase("fastapi_exceptions_total", ["exception_type"], "$interval"), "{{exception_type}}"),
            interval="$interval",
            size=(8, 8),
            empty="None, or not written by the gateway",
        ),
    ]


def _latency(v: BoardVariables) -> Row:
    return "Latency", [
        heat("Durations", v.http.buckets(SECONDS)),
        graph(
            "Mean and 95th percentile",
            Line(v.http.mean(SECONDS), "mean"),
            Line(v.http.quantile(0.95, SECONDS), "p95"),
            steps=theme.above(2, 5),
            ends_at=5,
            note="The histogram ends there: 5 s means 5 s or more.",
        ),
    ]


def _routes(v: BoardVariables) -> Row:
    return "Routes", [
        joined(
            "Every route",
            [KeyColumn("path", least=150)],
            [
                ValueColumn("Failed", slo.error_share(v.http, RANGE, ("path",)), theme.above(0.01, 0.05), width=80),
                ValueColumn(
                    "95th percentile",
                    v.http.quantile(0.95, SECONDS, ["path"], RANGE),
                    theme.above(2, 5),
                    words=theme.or_more(5),
                    width=130,
                ),
                ValueColumn("Requests", v.http.increase(TRAFFIC, ["path"]), bar=True, width=200),
            ],
            sort="Requests",
            note="Over the selected range.",
            size=(24, 12),
        )
    ]


def _process(v: BoardVariables) -> Row:
    cpu = growth("rate", v.gateway.foreign("process_cpu_seconds_total"), RATE)
    memory = v.gateway.foreign("process_resident_memory_bytes")
    # Needs no `> 0`: no process has a limit of zero files.
    files = f"{v.gateway.foreign('process_open_fds')} / {v.gateway.foreign('process_max_fds')}"
    return "Process", [
        graph(
            "Processor",
            _of_gateways(v, cpu, "percentunit", "Processor time; 100% is one core."),
            size=(8, 8),
            empty=_NO_PROCESS,
        ),
        graph(
            "Memory",
            _of_gateways(v, memory, "bytes", "Resident memory of the process."),
            size=(8, 8),
            empty=_NO_PROCESS,
        ),
        graph(
            "Open files",
            _of_gateways(v, files, "percentunit", "Open file descriptors, of those allowed."),
            steps=theme.above(0.7, 0.9),
            size=(8, 8),
            empty=_NO_PROCESS,
        ),
    ]


def _of_gateways(v: BoardVariables, promql: str, unit: str, about: str) -> Line:
    """A metric that every process has, of those alone that count gateway requests."""
    gateways = aggregate("group", ("job", "instance"), v.http.series("fastapi_requests_in_progress"))
    return Line(Expression(f"{promql} and on (job, instance) {gateways}", unit, about), "{{instance}}")


_NO_PROCESS = "The gateway exports no process metrics"
