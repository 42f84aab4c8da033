"""The alerts as Grafana's alerting provisioning, each linked to the panel that shows it."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from dashboards import queries
from dashboards.alerting import Alert, AlertScope
from dashboards.expressions import Metrics
from dashboards.finish import Document, find_panel

# As often as Prometheus does: at a minute, an alert that waits one could come after more than two.
_INTERVAL = "30s"
_EVALUATORS = {">": "gt", "<": "lt"}
_EXPRESSIONS = "__expr__"
_NO_DATA = re.compile(r"^( +)noDataState:", re.MULTILINE)


def text(metrics: Metrics, alerts: Sequence[Alert], boards: Sequence[Document]) -> str:
    """The alerting file; a bare number as the interval would stop Grafana's start."""
    group = {
        "orgId": 1,
        "name": "gatewayz",
        "folder": metrics.catalogue.title,
        "interval": _INTERVAL,
        "rules": [_rule(metrics, alert, boards) for alert in alerts],
    }
    found = yaml.safe_dump({"apiVersion": 1, "groups": [group]}, sort_keys=False, width=110, allow_unicode=True)
    return _explained(found, alerts)


def _explained(found: str, alerts: Sequence[Alert]) -> str:
    """The file with a comment above each no-data state: why it is this one."""
    reasons = iter(alerts)
    return _NO_DATA.sub(lambda line: f"{line[1]}# {next(reasons).why_no_data}\n{line[0]}", found)


def expression(metrics: Metrics, alert: Alert) -> str:
    """What is compared with the threshold, from the gateway's own series: any Prometheus has them."""
    return alert.expr(AlertScope(metrics))


def _rule(metrics: Metrics, alert: Alert, boards: Sequence[Document]) -> Document:
    panel = panel_of(alert, boards)["id"]
    # Grafana shows "View panel" by these two; the fields of the rule alone fill none.
    place = {"__dashboardUid__": alert.board, "__panelId__": str(panel)}
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "B",
        "data": [_query(metrics, alert), _threshold(alert)],
        "for": alert.wait,
        "noDataState": alert.no_data,
        "execErrState": alert.on_error,
        "dashboardUid": alert.board,
        "panelId": panel,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook": alert.runbook, **place},
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
