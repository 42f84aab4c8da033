"""Overview: is it us, is it them, is it money?"""

from gatewayz_metrics.catalogue import scrape_gaps
from grafana_foundation_sdk.builders import stat, table
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links, queries, slo, theme
from dashboards.board import Row, board
from dashboards.expressions import TRAFFIC, Expression
from dashboards.panels import dial, graph, number, ranking
from dashboards.queries import Line
from dashboards.service_panels import counted, readiness, statistic
from dashboards.tables import KeyColumn, ValueColumn, from_service
from dashboards.variables import BoardVariables

_MODEL_LEGEND = "{{provider}} {{model}}"
# Of fewer, one failure would be a large share.
_ENOUGH_CALLS = 20


def build(v: BoardVariables) -> Dashboard:
    """The first dashboard to open."""
    return board(
        v,
        "gw-overview",
        "Overview",
        "Is it us, is it a provider, or is it money? Everything at a glance, each panel leads to more.",
        variables=[v.datasource(), v.env(), v.app()],
        rows=[_now(v), _promise(v), _providers(v), _traffic(v)],
        since="now-6h",
    )


def _now(v: BoardVariables) -> Row:
    return "Now", [
        readiness(),
        statistic(
            v, "http.request_rate_per_minute", title="Requests a minute", links=[links.to_board("HTTP", "gw-http")]
        ),
        statistic(v, "http.error_rate", steps=theme.above(1, 5), links=[links.to_board("HTTP", "gw-http")]),
        statistic(v, "http.avg_latency_ms", steps=theme.above(2000, 5000), links=[_to_performance()]),
        _scrapes(v),
        counted(v, "Providers", "providers.healthy_providers", "providers.total_providers", size=(4, 4)),
    ]


def _scrapes(v: BoardVariables) -> stat.Panel:
    """Whether scrapes fill the window of the numbers beside: after a gap they are wrong, and do not look it."""
    window = v.metrics.catalogue.window
    ends = scrape_gaps.tell_ends_within(v.http.series(TRAFFIC), window, theme.SCRAPE_SECONDS)
    about = f"Whether the gateway was scraped at both ends of the last {window}, the window of the numbers beside."
    panel = number(
        "Scrapes",
        Expression(ends, "none", about),
        note="While some are missing, rates and counts show less than there was.",
    )
    words = {scrape_gaps.WHOLE: ("complete", theme.GREY), 0: ("none", theme.RED)}
    words |= dict.fromkeys((scrape_gaps.BEGUN, scrape_gaps.STOPPED), ("missing", theme.AMBER))
    return panel.mappings(
        [theme.texts(**{str(end): word for end, word in words.items()}), theme.missing(theme.NO_DATA)]
    )


def _promise(v: BoardVariables) -> Row:
    return "SLO and money", [
        number("Availability", slo.availability(v.http), steps=theme.below(theme.OBJECTIVE, 0.995), size=(4, 6)),
        dial(
            "Error budget left",
            Line(slo.budget_left(v.http), "left"),
            steps=theme.below(0.1, 0.5),
            note=f"Of the {1 - theme.OBJECTIVE:.0%} that may fail in {theme.OBJECTIVE_DAYS}; "
            "the server must keep its data that long.",
            size=(5, 6),
        ),
        graph(
            "Burn rate",
            *(Line(slo.burn_rate(v.http, window), f"over {window}") for window in ("5m", "1h", "6h")),
            steps=theme.above(theme.SLOW_BURN, theme.FAST_BURN),
            note="How many times faster than allowed the error budget is used up; alerts follow the dashed lines.",
            size=(7, 6),
        ),
        number("Tokens per second", v.gateway.rate("tokens_used_total"), size=(4, 6)),
        number("Credits", v.gateway.increase("credits_used_total"), note="Over the selected range.", size=(4, 6)),
    ]


def _traffic(v: BoardVariables) -> Row:
    seconds = "fastapi_requests_duration_seconds"
    return "Traffic", [
        graph(
            "Requests by status",
            Line(v.http.rate("fastapi_requests_total", ["status_code"]), "{{status_code}}"),
            links=[links.to_board("HTTP", "gw-http")],
            size=(8, 8),
        ),
        graph(
            "Time to answer",
            *(Line(v.http.quantile(q, seconds), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
            links=[_to_performance()],
            ends_at=5,
            note="The histogram ends there: 5 s means 5 s or more.",
            size=(8, 8),
        ),
        graph(
            "Requests in progress",
            Line(v.http.total("fastapi_requests_in_progress"), "in progress"),
            size=(8, 8),
        ),
    ]


def _providers(v: BoardVariables) -> Row:
    return "Providers and models", [
        _health(v),
        ranking(
            "Failed calls by model",
            Line(_failing(v).top(theme.FEW_LINES), _MODEL_LEGEND),
            steps=theme.above(0.02, 0.1),
            links=[links.to_model()],
            note="Over the selected range, under the name that the client wrote.",
            size=(12, 15),
        ),
    ]


def _failing(v: BoardVariables) -> Expression:
    """Of all calls to a provider, those that failed for a model.

    Not of the calls for that model: a failed one carries the client's spelling of it, a good one the provider's.
    """
    calls = "model_inference_requests_total"
    failed = v.gateway.where('status!="success"').increase(calls, ["provider", "model"])
    every = v.gateway.increase(calls, ["provider"])
    share = f"{failed.promql} / on (provider) group_left () ({every.promql} > {_ENOUGH_CALLS})"
    about = f"Share of a provider's calls that failed for this model, where it got more than {_ENOUGH_CALLS}."
    return Expression(share, "percentunit", about)


def _health(v: BoardVariables) -> table.Panel:
    """Every provider with its state, joined by the service."""
    provider = KeyColumn("provider", [links.to_provider(links.cell("Provider"))], least=110)
    state, errors, seconds = "provider_availability", "provider_error_rate", "provider_response_time_seconds"
    # Only what is wrong has a colour: a provider that answers may still fail every third call.
    words = theme.texts(_1=("answers", theme.GREY), _0=("down", theme.RED))
    return from_service(
        "Provider health",
        [provider],
        [
            ValueColumn("State", v.gateway.now(state), theme.at_least(1), words=words, width=75),
            ValueColumn("Failed calls", v.gateway.now(errors), theme.above(0.02, 0.1), width=95),
            ValueColumn(
                "95th percentile",
                v.gateway.quantile(0.95, seconds),
                theme.above(2, 5),
                words=theme.or_more(10),
                width=115,
            ),
        ],
        [
            queries.from_catalogue(state, format="table", join=True, legend="State"),
            queries.from_catalogue(errors, format="table", join=True, legend="Failed calls"),
            queries.from_catalogue(seconds, format="table", join=True, legend="95th percentile", function="p95"),
        ],
        sort="Failed calls",
        size=(12, 15),
        note="The worst first. Joined by the service, for the deployment that its SELECTOR names.",
    )


def _to_performance() -> links.Link:
    return links.to_board("Performance", "gw-performance")
