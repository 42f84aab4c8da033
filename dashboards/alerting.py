"""What an alert is, and the deployments that it looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dashboards import slo
from dashboards.expressions import Metrics, Selection


@dataclass(frozen=True)
class AlertScope:
    """What alerts of one catalogue look at."""

    metrics: Metrics
    # Whether the error share comes from recording rules; servers without them compute it from counters.
    is_recorded: bool = False

    @cached_property
    def everywhere(self) -> Selection:
        """All deployments."""
        return Selection(self.metrics)

    @property
    def by(self) -> tuple[str, ...]:
        """What tells deployments apart."""
        label = self.metrics.catalogue.deployment_label
        return (label,) if label else ()

    def error_share(self, window: str) -> str:
        """The gateway's share of failed requests."""
        return recorded_name(window) if self.is_recorded else slo.error_share(self.everywhere, window, self.by).promql


@dataclass(frozen=True)
class Alert:
    """One condition: an expression, compared with a threshold, for some time."""

    name: str
    title: str
    expr: Callable[[AlertScope], str]
    threshold: float
    wait: str
    severity: Literal["critical", "warning"]
    summary: str
    runbook: str
    board: str
    panel: str
    # What Grafana makes of an answer without series, and why.
    no_data: Literal["OK", "KeepLast"]
    why_no_data: str
    # What it makes of a query that fails. Failing queries say nothing about the gateway, so the state stays as it is:
    # a hang of half a minute would else set an alert back to normal in the midst of an incident.
    on_error: Literal["KeepLast", "Alerting"] = "KeepLast"
    operator: Literal[">", "<"] = ">"

    @property
    def uid(self) -> str:
        """What Grafana knows it by."""
        return f"gw-{self.name}"


def recorded_name(window: str) -> str:
    """What the recording rule of the error share is called."""
    return f"gatewayz:http_error_share:rate{window}"
