"""The alerts: what is wrong, since when, how bad it is, and what to do about it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gatewayz_metrics.promql.build import aggregate, first_of

from dashboards import theme
from dashboards.alerting import Alert, AlertScope
from dashboards.expressions import TRAFFIC, Metrics, NotInCatalogue
from dashboards.finish import Document, find_panel, find_reader

# So few failures among fewer calls are chance.
_ENOUGH_CALLS = 20

# Why an answer without series is no reason to change an alert's state, or to end it.
_QUIET = "A rate of nothing: where nobody asks, nothing fails."
_FILTERED = "The expression leaves out what is well, so that no series means all is well."
_UNSEEN = "A provider that nothing tells of any more has not recovered: what was known of it still holds."
_UNSCRAPED = "Where nothing scrapes the service it is not monitored, which is not the same as down."


def _burn(long: str, short: str, factor: float) -> Callable[[AlertScope], str]:
    """The long window's burn rate while the short one burns as well, so that the alert ends soon after the trouble."""

    def expr(scope: AlertScope) -> str:
        burns, still = scope.error_share(long), scope.error_share(short)
        return f"({burns}) / {theme.BUDGET} and ({still}) / {theme.BUDGET} > {factor:g}"

    return expr


def _down(scope: AlertScope) -> str:
    by = (*scope.by, "provider")
    available = scope.everywhere.where('source!="prometheus_data"').series("provider_availability")
    # Where nothing writes that: a provider whose breaker is open is down.
    is_open = scope.everywhere.where('state="open"').foreign("circuit_breaker_current_state")
    return first_of([aggregate("max", by, available), f"1 - {aggregate('max', by, is_open)}"], scope.by)


def _failing_calls(scope: AlertScope) -> str:
    calls, by = "model_inference_requests_total", (*scope.by, "provider")
    bad = scope.everywhere.where('status!="success"')

    def over(window: str) -> str:
        share = scope.everywhere.share(bad, calls, by, window).promql
        return f"{share} and {scope.everywhere.increase(calls, by, window).promql} > {_ENOUGH_CALLS}"

    # Two minutes tell of a busy provider what takes ten of a quiet one; the longer window fills in for the shorter.
    return f"({over('2m')}) or ({over('10m')})"


def _slow(scope: AlertScope) -> str:
    return scope.everywhere.quantile(0.95, "fastapi_requests_duration_seconds", scope.by, "5m").promql


def _unreached(scope: AlertScope) -> str:
    return aggregate("min", ("job", "instance"), scope.everywhere.series("gatewayz_metrics_upstream_up"))


def _absent(scope: AlertScope) -> str:
    return f"absent({scope.everywhere.foreign(scope.metrics.presence)})"


WRITTEN = (
    Alert(
        name="budget-burns-fast",
        title="Error budget burns fast",
        expr=_burn("1h", "5m", theme.FAST_BURN),
        threshold=theme.FAST_BURN,
        wait="2m",
        severity="critical",
        summary="Requests fail so often that two per cent of the month's error budget went within an hour.",
        runbook="Open Overview: does one provider fail (Provider health), or every route (HTTP, Every route)? "
        "One provider: take it out of the routing. One route: look at the last release. All: database and cache.",
        board="gw-overview",
        panel="Burn rate",
        no_data="OK",
        why_no_data=_FILTERED,
    ),
    Alert(
        name="budget-burns-slowly",
        title="Error budget burns slowly",
        expr=_burn("6h", "30m", theme.SLOW_BURN),
        threshold=theme.SLOW_BURN,
        wait="15m",
        severity="warning",
        summary="Requests have failed for hours, so that the month's error budget will not last.",
        runbook="Nobody has to get up for it. In HTTP, Every route shows which route fails, and Exceptions why.",
        board="gw-overview",
        panel="Burn rate",
        no_data="OK",
        why_no_data=_FILTERED,
    ),
    Alert(
        name="error-rate",
        title="Many requests fail",
        expr=lambda scope: scope.error_share("5m"),
        threshold=0.05,
        wait="2m",
        severity="critical",
        summary="More than one request in twenty is answered with a 5xx.",
        runbook="Open HTTP. 502 and 503 come from providers: go on with Providers. 500 comes from the gateway: "
        "Exceptions names the class, the log of that time tells the rest.",
        board="gw-http",
        panel="Share of failed requests",
        no_data="OK",
        why_no_data=_QUIET,
    ),
    Alert(
        name="provider-down",
        title="A provider is down",
        expr=_down,
        threshold=1,
        operator="<",
        wait="1m",
        severity="warning",
        summary="A model provider has not answered for a minute.",
        runbook="Compare with the provider's status page (Providers, last row). If only we cannot reach it, look at "
        "the key and the network; else see that requests go to another provider.",
        board="gw-providers",
        panel="Availability",
        no_data="KeepLast",
        why_no_data=_UNSEEN,
    ),
    Alert(
        name="provider-errors",
        title="Calls to a provider fail",
        expr=_failing_calls,
        threshold=0.2,
        wait="1m",
        severity="warning",
        summary="More than one call in five to a model provider fails.",
        runbook="In Models, choose the provider: one model or all? One: it may have been renamed or withdrawn. "
        "All: rate limit, quota or outage; the provider's console tells.",
        board="gw-providers",
        panel="Error rate as counted",
        no_data="OK",
        why_no_data=_QUIET,
    ),
    Alert(
        name="latency",
        title="Answers are slow",
        expr=_slow,
        threshold=4.9,
        wait="5m",
        severity="warning",
        summary="One request in twenty takes five seconds or longer, where the histogram ends.",
        runbook="In Performance, compare Gateway and model: when both rise it is a provider, when only the request "
        "does, look at Time per query and at Hit rate by cache.",
        board="gw-performance",
        panel="Time to answer, percentiles",
        no_data="OK",
        why_no_data=_QUIET,
    ),
    Alert(
        name="upstream-down",
        title="The metrics service cannot reach its upstream",
        expr=_unreached,
        threshold=1,
        operator="<",
        wait="1m",
        severity="critical",
        summary="Dashboards are empty or old: the metrics service gets no answers from Prometheus.",
        runbook="Ask the service's /readyz with a token: it names the reason. Then see that Prometheus runs and that "
        "PROMETHEUS_URL and its token are right.",
        board="gw-service",
        panel="Upstream over time",
        no_data="OK",
        why_no_data=_UNSCRAPED,
        # It asks through the service: while that cannot reach its upstream, its own query fails as well.
        on_error="Alerting",
    ),
)

NO_DATA = Alert(
    name="no-data",
    title="The gateway sends no metrics",
    expr=_absent,
    threshold=0,
    wait="5m",
    severity="critical",
    summary="Prometheus has no request counts of any gateway; every other alert is blind.",
    runbook="In Prometheus, Status > Targets: is the gateway scraped, and what does the scrape say? "
    "A gateway that runs shows its counters under /metrics.",
    board="gw-http",
    panel="Busiest routes",
    no_data="OK",
    why_no_data=_FILTERED,
)


def choose_alerts(metrics: Metrics, boards: Sequence[Document]) -> list[Alert]:
    """The alerts whose families the catalogue has and whose panel is on one of the boards."""
    scope = AlertScope(metrics)
    return [alert for alert in (*WRITTEN, *_about_silence(metrics, boards)) if _can_be_raised(alert, scope, boards)]


def _can_be_raised(alert: Alert, scope: AlertScope, boards: Sequence[Document]) -> bool:
    try:
        alert.expr(scope)
    except NotInCatalogue:
        return False
    return find_panel(alert.board, alert.panel, boards) is not None


def _about_silence(metrics: Metrics, boards: Sequence[Document]) -> list[Alert]:
    """The alert about no data at all, for any catalogue: it names the panel that shows what it watches."""
    if metrics.presence == TRAFFIC and find_panel(NO_DATA.board, NO_DATA.panel, boards):
        return [NO_DATA]
    found = find_reader(metrics.presence, boards)
    if found is None:
        return []
    board, panel = found
    title = metrics.catalogue.title
    return [
        replace(
            NO_DATA,
            title=f"{title} sends no metrics",
            summary=f"Prometheus has no {metrics.presence} of any deployment; every other alert is blind.",
            runbook=f"In Prometheus, Status > Targets: is {title} scraped, and what does the scrape say? "
            "What runs shows its numbers under the address that is scraped.",
            board=board["uid"],
            panel=panel["title"],
        )
    ]
