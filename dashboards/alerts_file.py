"""The alerts as Grafana's alerting provisioning, each linked to the panel that shows it."""

from collections.abc import Sequence
from typing import Any

import yaml

from dashboards import queries
from dashboards.alerting import Alert, AlertScope
from dashboards.expressions import Metrics
from dashboards.finish import Document, find_panel

_INTERVAL = "1m"
_EVALUATORS = {">": "gt", "<": "lt"}
_EXPRESSIONS = "__expr__"


def text(metrics: Metrics, alerts: Sequence[Alert], boards: Sequence[Document]) -> str:
    """The alerting file; a bare number as the interval would stop Grafana's start."""
    group = {
        "orgId": 1,
        "name": "gatewayz",
        "folder": metrics.catalogue.title,
        "interval": _INTERVAL,
        "rules": [_rule(metrics, alert, boards) for alert in alerts],
    }
    return yaml.safe_dump({"apiVersion": 1, "groups": [group]}, sort_keys=False, width=110, allow_unicode=True)


def expression(metrics: Metrics, alert: Alert) -> str:
    """What is compared with the threshold, from the gateway's own series: any Prometheus has them."""
    return alert.expr(AlertScope(metrics))


def _rule(metrics: Metrics, alert: Alert, boards: Sequence[Document]) -> Document:
    # One outage, one alert: while nothing answers, the alert about that fires and the others wait.
    broken = "Alerting" if alert.silence else "OK"
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "B",
        "data": [_query(metrics, alert), _threshold(alert)],
        "for": alert.wait,
        "noDataState": broken,
        "execErrState": broken,
        "dashboardUid": alert.board,
        "panelId": panel_of(alert, boards)["id"],
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook": alert.runbook},
        "isPaused": False,
    }


def _query(metrics: Metrics, alert: Alert) -> Document:
    model = {
        "datasource": {"type": "prometheus", "uid": queries.PROMETHEUS_UID},
        "editorMode": "code",
        "expr": expression(metrics, alert),
        "instant": True,
        "range": False,
        "refId": "A",
    }
    return _step("A", queries.PROMETHEUS_UID, model)


def _threshold(alert: Alert) -> Document:
    evaluator = {"type": _EVALUATORS[alert.operator], "params": [alert.threshold]}
    model = {
        "conditions": [{"evaluator": evaluator}],
        "datasource": {"type": _EXPRESSIONS, "uid": _EXPRESSIONS},
        "expression": "A",
        "refId": "B",
        "type": "threshold",
    }
    return _step("B", _EXPRESSIONS, model)


def _step(ref_id: str, uid: str, model: dict[str, Any]) -> Document:
    return {
        "refId": ref_id,
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": uid,
        "model": model,
    }


def panel_of(alert: Alert, boards: Sequence[Document]) -> Document:
    """The panel that shows what an alert is about."""
    found = find_panel(alert.board, alert.panel, boards)
    if found is None:
        raise ValueError(f"The alert {alert.name} names the panel {alert.panel!r}, which {alert.board} does not have.")
    return found
