"""The alerts as Prometheus rules, with recording rules for what several of them share."""

from collections.abc import Sequence

import yaml

from dashboards.alerting import Alert, AlertScope, recorded_name
from dashboards.expressions import Metrics

_WINDOWS = ("5m", "30m", "1h", "6h")

Rule = dict[str, object]


def text(metrics: Metrics, alerts: Sequence[Alert]) -> str:
    """The rules file."""
    groups = {
        "gatewayz-records": [_record(metrics, window) for window in recorded_windows(metrics, alerts)],
        "gatewayz-alerts": [_rule(metrics, alert) for alert in alerts],
    }
    content = [{"name": name, "interval": "30s", "rules": rules} for name, rules in groups.items() if rules]
    return yaml.safe_dump({"groups": content}, sort_keys=False, width=110, allow_unicode=True)


def expression(metrics: Metrics, alert: Alert) -> str:
    """The condition over recorded series."""
    return f"({alert.expr(AlertScope(metrics, is_recorded=True))}) {alert.operator} {alert.threshold:g}"


def recorded_windows(metrics: Metrics, alerts: Sequence[Alert]) -> list[str]:
    """The windows of the error share that some alert reads."""
    read = " ".join(expression(metrics, alert) for alert in alerts)
    return [window for window in _WINDOWS if recorded_name(window) in read]


def _record(metrics: Metrics, window: str) -> Rule:
    return {"record": recorded_name(window), "expr": AlertScope(metrics).error_share(window)}


def _rule(metrics: Metrics, alert: Alert) -> Rule:
    return {
        "alert": "Gatewayz" + "".join(word.capitalize() for word in alert.name.split("-")),
        "expr": expression(metrics, alert),
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "runbook": alert.runbook,
            "dashboard": f"/d/{alert.board}",
        },
    }
