"""Performance: percentiles, cache, database."""

from gatewayz_metrics.promql.build import aggregate, growth, ratio
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links, theme
from dashboards.board import Row, board
from dashboards.expressions import RANGE, RATE, Expression
from dashboards.panels import dial, graph, heat
from dashboards.queries import Line
from dashboards.service_panels import readiness, statistic
from dashboards.tables import KeyColumn, ValueColumn, joined
from dashboards.variables import BoardVariables

HTTP = "fastapi_requests_duration_seconds"
CALL = "model_inference_duration_seconds"
CACHE = "cache_name"


def build(v: BoardVariables) -> Dashboard:
    """Where the time goes."""
    return board(
        v,
        "gw-performance",
        "Performance",
        "Where does the time go: the gateway, the models, the cache or the database?",
        variables=[v.datasource(), v.env(), v.app()],
        rows=[_now(v), _latency(v), _cache(v), _database(v), _routes(v)],
        since="now-6h",
    )


def _now(v: BoardVariables) -> Row:
    return "Now", [
        readiness(),
        statistic(v, "http.avg_latency_ms", title="Request, mean", steps=theme.above(2000, 5000), size=(5, 4)),
        statistic(
            v,
            "models.avg_inference_latency_ms",
            title="Model call, mean",
            steps=theme.above(3000, 10_000),
            size=(5, 4),
            note="Most requests call no model, so that their mean is the lower one.",
        ),
        statistic(v, "database.avg_query_latency_ms", title="Query, mean", size=(5, 4), steps=theme.above(50, 250)),
        statistic(v, "database.cache_hit_rate", size=(5, 4), steps=theme.below(50, 80)),
    ]


def _latency(v: BoardVariables) -> Row:
    return "Latency", [
        graph(
            "Time to answer, percentiles",
            *(Line(v.http.quantile(q, HTTP), f"p{q * 100:g}") for q in (0.5, 0.9, 0.95, 0.99)),
            ends_at=5,
            note="The histogram ends there: 5 s means 5 s or more.",
        ),
        graph(
            "Answered within a second",
            Line(_within_a_second(v), "share"),
            note="A share that falls before the mean rises.",
        ),
        graph(
            "Gateway and model, means",
            Line(v.http.mean(HTTP), "request"),
            Line(v.gateway.mean(CALL), "model call"),
            note="Means, for percentiles cannot be subtracted; many requests call no model.",
        ),
        heat("Durations of model calls", v.gateway.buckets(CALL)),
    ]


def _cache(v: BoardVariables) -> Row:
    rate = v.gateway.number("database.cache_hit_rate").scaled("({}) / 100", "percentunit")
    ratio = v.gateway.now("cache_hit_ratio")
    return "Cache", [
        dial("Hit rate", Line(rate, "hits"), steps=theme.below(0.5, 0.8), size=(6, 8)),
        graph("Hit rate by cache", Line(ratio, f"{{{{{CACHE}}}}}"), size=(6, 8), empty=theme.NOT_WRITTEN),
        graph(
            "Look-ups",
            Line(v.gateway.rate("cache_hits_total", [CACHE]), f"{{{{{CACHE}}}}} hits"),
            Line(v.gateway.rate("cache_misses_total", [CACHE]), f"{{{{{CACHE}}}}} misses"),
            size=(6, 8),
            empty=theme.NOT_WRITTEN,
        ),
        graph(
            "Size",
            Line(v.gateway.total("cache_size_bytes", [CACHE]), f"{{{{{CACHE}}}}}"),
            size=(6, 8),
            empty=theme.NOT_WRITTEN,
        ),
    ]


def _database(v: BoardVariables) -> Row:
    mean = v.gateway.now("database_query_duration_seconds_mean")
    queries = v.gateway.rate("database_queries_total", ["operation"])
    return "Database", [
        graph("Time per query", Line(mean, "{{table}}"), note="Means: the gateway exports no percentiles of these."),
        graph("Queries", Line(queries.scaled("{}", "ops"), "{{operation}}")),
    ]


def _routes(v: BoardVariables) -> Row:
    return "Slowest routes", [
        joined(
            "Routes by 95th percentile",
            [KeyColumn("path", [links.to_board("HTTP", "gw-http")], least=150)],
            [
                ValueColumn(
                    "95th percentile",
                    v.http.quantile(0.95, HTTP, ["path"], RANGE).top(15),
                    theme.above(2, 5),
                    words=theme.or_more(5),
                    width=130,
                ),
                ValueColumn("Mean", v.http.mean(HTTP, ["path"], RANGE), bar=True, width=120),
            ],
            sort="95th percentile",
            note="Over the selected range; the slowest fifteen.",
        )
    ]


def _within_a_second(v: BoardVariables) -> Expression:
    # Clients and servers write the same bound as 1 or as 1.0.
    fast = v.http.where('le=~"1|1.0"').series(f"{HTTP}_bucket")
    some, every = (aggregate("sum", (), growth("rate", each, RATE)) for each in (fast, v.http.series(f"{HTTP}_count")))
    return Expression(ratio(some, every), "percentunit", "Share of requests that were answered within a second.")
