"""Every generated file: its name below `provisioning/` and its text."""

from pathlib import Path

from dashboards import alerts, alerts_file, boards, rules_file
from dashboards.alerts_file import panel_of
from dashboards.finish import Document, finished, text_of

ROOT = Path(__file__).parents[1] / "provisioning"
BOARDS = "grafana/dashboards/gatewayz"
ALERTS = "grafana/alerting/gatewayz.yml"
RULES = "prometheus/rules/gatewayz.yml"


def documents() -> list[Document]:
    """Every dashboard as Grafana reads it, with the runbooks on the panels that show what the alerts are about."""
    made = [finished(build()) for build in boards.ALL]
    for alert in alerts.ALL:
        panel = panel_of(alert, made)
        panel["description"] += f"\n\nAlert “{alert.title}”: {alert.summary} {alert.runbook}"
    return made


def files() -> dict[str, str]:
    """Every generated file by its name."""
    made = documents()
    found = {f"{BOARDS}/{document['uid']}.json": text_of(document) for document in made}
    return found | {ALERTS: alerts_file.text(made), RULES: rules_file.text()}


def stale() -> list[Path]:
    """Dashboards on disk that nothing makes any more."""
    expected = {f"{document['uid']}.json" for document in documents()}
    return sorted(path for path in (ROOT / BOARDS).glob("*.json") if path.name not in expected)
