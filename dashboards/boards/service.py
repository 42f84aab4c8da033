"""Service: what stands between the dashboards and their data."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme
from dashboards import variables as v
from dashboards.board import Row, board
from dashboards.expressions import RANGE, Expression
from dashboards.panels import graph, number, states
from dashboards.queries import Line
from dashboards.service_panels import readiness
from dashboards.tables import KeyColumn, ValueColumn, joined

PREFIX = "gatewayz_metrics"
REQUESTS = f"{PREFIX}_http_requests_total"
SECONDS = f"{PREFIX}_http_request_duration_seconds"
ASKED = f"{PREFIX}_upstream_requests_total"
ASKED_SECONDS = f"{PREFIX}_upstream_request_duration_seconds"
UP = f"{PREFIX}_upstream_up"


def build() -> Dashboard:
    """The metrics service itself."""
    return board(
        "gw-service",
        "Service",
        "Is the metrics service itself quick, sparing and in touch with its upstream?",
        variables=[v.datasource(), v.job(), v.instance()],
        rows=[_now(), _requests(), _caches(), _upstream(), _routes()],
        since="now-1h",
        restarts=False,
    )


def _now() -> Row:
    failed = v.service.where('status=~"5.."')
    success = v.service.raw(f"{PREFIX}_upstream_last_success_timestamp_seconds")
    age = Expression(f"time() - max({success})", "s", "Since the last usable answer of the upstream.")
    return "Now", [
        readiness(),
        number("Upstream reached", v.service.total(UP, function="min"), steps=theme.at_least(1)),
        number("Last success", age, steps=theme.above(60, 300)),
        number("Requests per second", v.service.rate(REQUESTS)),
        number("Failed answers", v.service.share(failed, REQUESTS), steps=theme.above(0.01, 0.05)),
        number("Answers from memory", _kept(), note="Hits and shared calls, of all look-ups of kept answers."),
    ]


def _requests() -> Row:
    return "Requests", [
        graph("Requests by route", Line(v.service.rate(REQUESTS, ["route"]), "{{route}}"), size=(8, 8)),
        graph("Requests by result", Line(v.service.rate(REQUESTS, ["status"]), "{{status}}"), size=(8, 8)),
        graph(
            "95th percentile by route",
            Line(v.service.quantile(0.95, SECONDS, ["route"]), "{{route}}"),
            steps=theme.above(1, 5),
            size=(8, 8),
        ),
    ]


def _caches() -> Row:
    range_results = v.service.rate(f"{PREFIX}_range_results_total", ["result", "reason"])
    return "Caches", [
        graph("Kept answers", Line(v.service.rate(f"{PREFIX}_cache_requests_total", ["result"]), "{{result}}")),
        graph(
            "Answers of the Prometheus API",
            Line(v.service.rate(f"{PREFIX}_api_answers_total", ["kind", "result"]), "{{kind}} {{result}}"),
        ),
        graph("Range queries", Line(range_results, "{{result}} {{reason}}"), size=(8, 8)),
        graph(
            "Points by source",
            Line(v.service.rate(f"{PREFIX}_range_points_total", ["source"]), "{{source}}"),
            size=(8, 8),
        ),
        graph("Range cache", Line(v.service.total(f"{PREFIX}_range_cache_bytes"), "bytes"), size=(8, 8)),
    ]


def _upstream() -> Row:
    return "Upstream", [
        states(
            "Upstream over time",
            Line(v.service.total(UP, ["instance"], "min"), "{{instance}}"),
            theme.texts(_1=("reached", theme.GREEN), _0=("not reached", theme.RED)),
        ),
        graph("Requests to the upstream", Line(v.service.rate(ASKED, ["kind", "outcome"]), "{{kind}} {{outcome}}")),
        graph(
            "95th percentile of the upstream",
            Line(v.service.quantile(0.95, ASKED_SECONDS, ["kind"]), "{{kind}}"),
            steps=theme.above(1, 5),
        ),
        graph(
            "Refused, warned, asked apart",
            Line(v.service.rate(f"{PREFIX}_limit_refusals_total", ["limit"]), "refused by {{limit}}"),
            Line(v.service.rate(f"{PREFIX}_upstream_warnings_total"), "warnings"),
            Line(v.service.rate(f"{PREFIX}_join_fallbacks_total"), "joined queries asked apart"),
        ),
    ]


def _routes() -> Row:
    return "Routes", [
        joined(
            "Every route of the service",
            [KeyColumn("route")],
            [
                ValueColumn("Requests", v.service.increase(REQUESTS, ["route"]), bar=True),
                ValueColumn("Mean", v.service.mean(SECONDS, ["route"], RANGE), theme.above(1, 5)),
            ],
            sort="Requests",
            note="Over the picked time.",
        )
    ]


def _kept() -> Expression:
    name = f"{PREFIX}_cache_requests_total"
    return v.service.share(v.service.where('result!="miss"'), name)
