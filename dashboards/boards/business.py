"""Business: customers and consumption."""

from dataclasses import replace

from gatewayz_metrics.promql.build import aggregate
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import links, queries, theme
from dashboards.board import Row, board
from dashboards.panels import bars, donut, graph, number
from dashboards.queries import Line
from dashboards.service_panels import statistic
from dashboards.tables import KeyColumn, ValueColumn, from_service
from dashboards.variables import BoardVariables

CREDITS = "credits_used_total"
SUBSCRIPTIONS = "subscription_count"


def build(v: BoardVariables) -> Dashboard:
    """Keys, subscriptions, trials, tokens and credits."""
    return board(
        v,
        "gw-business",
        "Business",
        "Are we growing, and what do customers consume?",
        variables=[v.datasource(), v.env()],
        rows=[_now(v), _consumption(v), _customers(v)],
        since="now-30d",
        refresh="5m",
        restarts=False,
    )


def _now(v: BoardVariables) -> Row:
    unwritten, none_yet = theme.NOT_WRITTEN, "None counted yet"
    return "Now", [
        statistic(v, "business.active_api_keys", size=(4, 4), empty=unwritten),
        statistic(v, "business.active_subscriptions", size=(5, 4), empty=unwritten),
        statistic(v, "business.active_trials", size=(4, 4), empty=unwritten),
        statistic(v, "business.total_tokens_used", size=(5, 4), empty=none_yet),
        statistic(v, "business.total_credits_used", size=(6, 4), empty=none_yet),
    ]


def _customers(v: BoardVariables) -> Row:
    subscriptions = v.gateway.now(SUBSCRIPTIONS)
    by_plan = replace(subscriptions, promql=aggregate("sum", ["plan_type"], subscriptions.promql))
    now, before = (aggregate("sum", (), each.promql) for each in (subscriptions, subscriptions.earlier("7d")))
    change = replace(subscriptions, promql=f"{now} - {before}")
    return "Customers", [
        graph("API keys", Line(v.gateway.now("active_api_keys"), "{{status}}"), size=(8, 8), empty=theme.NOT_WRITTEN),
        graph("Subscriptions by plan", Line(by_plan, "{{plan_type}}"), size=(8, 8), empty=theme.NOT_WRITTEN),
        graph("Trials", Line(v.gateway.now("trial_active"), "{{status}}"), size=(8, 8), empty=theme.NOT_WRITTEN),
        number("Change of subscriptions", change, size=(6, 8), empty="Not written, or not a week ago"),
        _plans(v),
    ]


def _consumption(v: BoardVariables) -> Row:
    a_day = v.gateway.increase(CREDITS, window="1d")
    month = v.gateway.increase(CREDITS, window="30d")
    by_provider = v.gateway.increase(CREDITS, ["provider"])
    return "Consumption", [
        bars(
            "Credits a day",
            Line(a_day, "this week"),
            Line(a_day.earlier("7d"), "the week before"),
            interval="1d",
            note="A day's bar stands where it ends, at midnight UTC.",
            empty="No day has ended since the data began",
        ),
        number("Credits in 30 days", month, note="Since the data begins, where that is less.", size=(4, 8)),
        donut("Credits by provider", Line(by_provider, "{{provider}}"), links=[links.to_provider()], size=(8, 8)),
    ]


def _plans(v: BoardVariables) -> table.Panel:
    return from_service(
        "Plans",
        [KeyColumn("plan_type", least=100), KeyColumn("billing_cycle", least=100)],
        [ValueColumn("Subscriptions", v.gateway.now(SUBSCRIPTIONS), bar=True, width=200)],
        [queries.from_catalogue(SUBSCRIPTIONS, format="table", legend="Subscriptions")],
        sort="Subscriptions",
        note="The service's own answer, for the deployment that its SELECTOR names.",
        size=(18, 8),
        empty=theme.NOT_WRITTEN,
    )
