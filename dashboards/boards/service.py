"""Service: what stands between the dashboards and their data."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme
from dashboards.board import Row, board
from dashboards.expressions import RANGE, Expression
from dashboards.panels import graph, number, states
from dashboards.queries import Line
from dashboards.service_panels import readiness, reason
from dashboards.tables import KeyColumn, ValueColumn, joined
from dashboards.variables import BoardVariables

PREFIX = "gatewayz_metrics"
REQUESTS = f"{PREFIX}_http_requests_total"
SECONDS = f"{PREFIX}_http_request_duration_seconds"
ASKED = f"{PREFIX}_upstream_requests_total"
ASKED_SECONDS = f"{PREFIX}_upstream_request_duration_seconds"
UP = f"{PREFIX}_upstream_up"


def build(v: BoardVariables) -> Dashboard:
    """The metrics service itself."""
    return board(
        v,
        "gw-service",
        "Service",
        "Is the metrics service itself quick, sparing and in touch with its upstream?",
        variables=[v.datasource(), v.job(), v.instance()],
        rows=[_now(v), _requests(v), _caches(v), _upstream(v), _routes(v)],
        since="now-1h",
        restarts=False,
        scraped=v.service.series(UP),
        empty=theme.NOT_SCRAPED,
    )


def _now(v: BoardVariables) -> Row:
    failed = v.service.where('status=~"5.."')
    success = v.service.series(f"{PREFIX}_upstream_last_success_timestamp_seconds")
    age = Expression(f"time() - max({success})", "s", "Since the last usable answer of the upstream.")
    return "Now", [
        readiness(),
        number("Upstream reached", v.service.total(UP, function="min"), steps=theme.at_least(1)),
        number("Last success", age, steps=theme.above(60, 300)),
        number("Requests a second", v.service.rate(REQUESTS)),
        number("Failed answers", v.service.share(failed, REQUESTS), steps=theme.above(0.01, 0.05)),
        number(
            "Cache hit ratio", _hit_ratio(v), note="Hits and coalesced requests, of all look-ups of the summary cache."
        ),
        reason(),
    ]


def _requests(v: BoardVariables) -> Row:
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


def _caches(v: BoardVariables) -> Row:
    lookups = f"{PREFIX}_cache_lookups_total"
    ranges = v.service.where('cache="ranges"')
    return "Caches", [
        graph("Summary cache", Line(v.service.where('cache="snapshots"').rate(lookups, ["result"]), "{{result}}")),
        graph("Response cache", Line(v.service.where('cache="responses"').rate(lookups, ["result"]), "{{result}}")),
        graph("Range queries", Line(ranges.rate(lookups, ["result"]), "{{result}}")),
        graph(
            "Why ranges were fetched",
            Line(v.service.rate(f"{PREFIX}_range_fetches_total", ["reason"]), "{{reason}}"),
        ),
        graph(
            "Points by source",
            Line(v.service.rate(f"{PREFIX}_range_points_total", ["source"]), "{{source}}"),
        ),
        graph(
            "Memory",
            Line(v.service.total(f"{PREFIX}_range_cache_bytes"), "range cache"),
            Line(v.service.total(f"{PREFIX}_memory_bytes"), "answers under way"),
        ),
    ]


def _upstream(v: BoardVariables) -> Row:
    return "Upstream", [
        states(
            "Upstream over time",
            Line(v.service.total(UP, ["instance"], "min"), "{{instance}}"),
            theme.texts(_1=("reached", theme.GREEN), _0=("not reached", theme.RED)),
            absent="not scraped",
        ),
        graph(
            "Requests to the upstream", Line(v.service.rate(ASKED, ["endpoint", "outcome"]), "{{endpoint}} {{outcome}}")
        ),
        graph(
            "95th percentile of the upstream",
            Line(v.service.quantile(0.95, ASKED_SECONDS, ["endpoint"]), "{{endpoint}}"),
            steps=theme.above(1, 5),
        ),
        graph(
            "Limits, warnings, batch splits",
            Line(v.service.rate(f"{PREFIX}_limit_refusals_total", ["limit"]), "refused by {{limit}}"),
            Line(v.service.rate(f"{PREFIX}_server_refusals_total", ["reason"]), "refused for {{reason}}"),
            Line(v.service.rate(f"{PREFIX}_upstream_warnings_total"), "warnings"),
            Line(v.service.rate(f"{PREFIX}_batch_splits_total"), "batches split"),
        ),
        graph(
            "Clock of the upstream",
            Line(v.service.total(f"{PREFIX}_upstream_clock_skew_seconds", ["instance"], "max"), "{{instance}}"),
            size=(8, 8),
        ),
        graph(
            "Places at the upstream",
            Line(v.service.total(f"{PREFIX}_upstream_places", ["kind", "state"]), "{{kind}} {{state}}"),
            size=(8, 8),
        ),
        graph(
            "Refused for want of a place",
            Line(v.service.rate(f"{PREFIX}_upstream_place_refusals_total", ["kind"]), "{{kind}}"),
            size=(8, 8),
        ),
    ]


def _routes(v: BoardVariables) -> Row:
    return "Routes", [
        joined(
            "Every route of the service",
            [KeyColumn("route", least=180)],
            [
                ValueColumn("Mean", v.service.mean(SECONDS, ["route"], RANGE), theme.above(1, 5)),
                ValueColumn("Requests", v.service.increase(REQUESTS, ["route"]), bar=True, width=120),
            ],
            sort="Requests",
            note="Over the selected range.",
        )
    ]


def _hit_ratio(v: BoardVariables) -> Expression:
    snapshots = v.service.where('cache="snapshots"')
    return snapshots.share(snapshots.where('result!="miss"'), f"{PREFIX}_cache_lookups_total")
