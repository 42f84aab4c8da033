"""The alerts: what is wrong, since when, how bad it is, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dashboards import slo, theme
from dashboards.expressions import Source

# Alerts look at all deployments and tell them apart; dashboards show one.
EVERYWHERE = Source()
BY_ENV = ("env",)
WINDOWS = ("5m", "30m", "1h", "6h")

Ratio = Callable[[str], str]


@dataclass(frozen=True)
class Alert:
    """One condition: an expression, compared with a threshold, for some time."""

    name: str
    title: str
    expr: Callable[[Ratio], str]
    threshold: float
    wait: str
    severity: Literal["critical", "warning"]
    summary: str
    runbook: str
    board: str
    panel: str
    operator: Literal[">", "<"] = ">"
    # Whether no answer at all is itself what the alert is about.
    silence: bool = False

    @property
    def uid(self) -> str:
        """What Grafana knows it by."""
        return f"gw-{self.name}"


def plain_ratio(window: str) -> str:
    """The gateway's error share from its own counters, for servers without our recording rules."""
    return slo.error_share(EVERYWHERE, window, BY_ENV).promql


def recorded_ratio(window: str) -> str:
    """The same as a recording rule keeps it."""
    return f"gatewayz:http_error_share:rate{window}"


def _burn(long: str, short: str, factor: float) -> Callable[[Ratio], str]:
    """The long window's burn rate while the short one burns as well, so that the alert ends soon after the trouble."""

    def expr(ratio: Ratio) -> str:
        return f"({ratio(long)}) / {theme.BUDGET} and ({ratio(short)}) / {theme.BUDGET} > {factor:g}"

    return expr


def _fixed(promql: str) -> Callable[[Ratio], str]:
    return lambda _ratio: promql


_CALLS = "model_inference_requests_total"
_PER_PROVIDER = ("env", "provider")
_AVAILABLE = EVERYWHERE.where('source!="prometheus_data"').raw("provider_availability")
_FAILED_CALLS = EVERYWHERE.share(EVERYWHERE.where('status!="success"'), _CALLS, _PER_PROVIDER, "10m").promql
_BUSY = EVERYWHERE.increase(_CALLS, _PER_PROVIDER, "10m").promql
_SLOW = EVERYWHERE.quantile(0.95, "fastapi_requests_duration_seconds", BY_ENV, "5m").promql
_TRAFFIC = EVERYWHERE.raw("fastapi_requests_total")

ALL = (
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
    ),
    Alert(
        name="error-rate",
        title="Many requests fail",
        expr=lambda ratio: ratio("5m"),
        threshold=0.05,
        wait="5m",
        severity="critical",
        summary="More than one request in twenty is answered with a 5xx.",
        runbook="Open HTTP. 502 and 503 come from providers: go on with Providers. 500 comes from the gateway: "
        "Exceptions names the class, the log of that time tells the rest.",
        board="gw-http",
        panel="Share of failed requests",
    ),
    Alert(
        name="provider-down",
        title="A provider is down",
        expr=_fixed(f"max by (env, provider) ({_AVAILABLE})"),
        threshold=1,
        operator="<",
        wait="5m",
        severity="warning",
        summary="A model provider has not answered for five minutes.",
        runbook="Compare with the provider's status page (Providers, last row). If only we cannot reach it, look at "
        "the key and the network; else see that requests go to another provider.",
        board="gw-providers",
        panel="Availability",
    ),
    Alert(
        name="provider-errors",
        title="Calls to a provider fail",
        expr=_fixed(f"{_FAILED_CALLS} and {_BUSY} > 20"),
        threshold=0.2,
        wait="5m",
        severity="warning",
        summary="More than one call in five to a model provider fails.",
        runbook="In Models, choose the provider: one model or all? One: it may have been renamed or withdrawn. "
        "All: rate limit, quota or outage; the provider's console tells.",
        board="gw-providers",
        panel="Error rate as counted",
    ),
    Alert(
        name="latency",
        title="Answers are slow",
        expr=_fixed(_SLOW),
        threshold=4.9,
        wait="10m",
        severity="warning",
        summary="One request in twenty takes five seconds or longer, where the histogram ends.",
        runbook="In Performance, compare Gateway and model: when both rise it is a provider, when only the request "
        "does, look at Time per query and at Hit rate by cache.",
        board="gw-performance",
        panel="Time to answer, percentiles",
    ),
    Alert(
        name="upstream-down",
        title="The metrics service cannot reach its upstream",
        expr=_fixed(f"min by (job, instance) ({EVERYWHERE.raw('gatewayz_metrics_upstream_up')})"),
        threshold=1,
        operator="<",
        wait="2m",
        severity="critical",
        summary="Dashboards are empty or old: the metrics service gets no answers from Prometheus.",
        runbook="Ask the service's /readyz: it names the reason. Then see that Prometheus runs and that "
        "PROMETHEUS_URL and its token are right.",
        board="gw-service",
        panel="Upstream over time",
        silence=True,
    ),
    Alert(
        name="no-data",
        title="The gateway sends no metrics",
        expr=_fixed(f"absent({_TRAFFIC})"),
        threshold=0,
        wait="10m",
        severity="critical",
        summary="Prometheus has no request counts of any gateway; every other alert is blind.",
        runbook="In Prometheus, Status > Targets: is the gateway scraped, and what does the scrape say? "
        "A gateway that runs shows its counters under /metrics.",
        board="gw-http",
        panel="Busiest routes",
    ),
)
