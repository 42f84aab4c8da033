"""The alerts as Prometheus rules, with recording rules for what several of them share."""

import yaml

from dashboards import alerts
from dashboards.alerts import Alert

Rule = dict[str, object]


def text() -> str:
    """The rules file."""
    groups = [
        {"name": "gatewayz-records", "interval": "30s", "rules": [_record(window) for window in alerts.WINDOWS]},
        {"name": "gatewayz-alerts", "interval": "30s", "rules": [_rule(alert) for alert in alerts.ALL]},
    ]
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)


def expression(alert: Alert) -> str:
    """The condition over recorded series."""
    return f"({alert.expr(alerts.recorded_ratio)}) {alert.operator} {alert.threshold:g}"


def _record(window: str) -> Rule:
    return {"record": alerts.recorded_ratio(window), "expr": alerts.plain_ratio(window)}


def _rule(alert: Alert) -> Rule:
    return {
        "alert": "Gatewayz" + "".join(word.capitalize() for word in alert.name.split("-")),
        "expr": expression(alert),
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "runbook": alert.runbook,
            "dashboard": f"/d/{alert.board}",
        },
    }
