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
    operator: Literal[">", "<"] = ">"
    # Whether no answer at all is itself what the alert is about.
    silence: bool = False

    @property
    def uid(self) -> str:
        """What Grafana knows it by."""
        return f"gw-{self.name}"


def recorded_name(window: str) -> str:
    """What the recording rule of the error share is called."""
    return f"gatewayz:http_error_share:rate{window}"
