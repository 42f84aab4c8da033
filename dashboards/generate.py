"""Every generated file of a catalogue: its name below the folder `provisioning` and its text."""

from dataclasses import dataclass
from pathlib import Path

from gatewayz_metrics.catalogue import Catalogue

from dashboards import alerts, alerts_file, boards, rules_file
from dashboards.alerting import Alert
from dashboards.alerts_file import panel_of
from dashboards.boards import generated
from dashboards.expressions import Metrics, NotInCatalogue
from dashboards.finish import Document, finished, keep_links_to, text_of
from dashboards.variables import BoardVariables

ROOT = Path(__file__).parents[1] / "provisioning"
BOARDS = "grafana/dashboards/gatewayz"
ALERTS = "grafana/alerting/gatewayz.yml"
RULES = "prometheus/rules/gatewayz.yml"


@dataclass(frozen=True)
class Provisioning:
    """What one catalogue makes: dashboards as Grafana reads them, alerts, and why a written board is not there."""

    metrics: Metrics
    documents: list[Document]
    alerts: list[Alert]
    left_out: dict[str, str]

    def files(self) -> dict[str, str]:
        """Every generated file by its name."""
        found = {f"{BOARDS}/{document['uid']}.json": text_of(document) for document in self.documents}
        return found | {
            ALERTS: alerts_file.text(self.metrics, self.alerts, self.documents),
            RULES: rules_file.text(self.metrics, self.alerts),
        }

    def stale(self, root: Path) -> list[Path]:
        """Dashboards below a folder that nothing makes any more."""
        expected = {f"{document['uid']}.json" for document in self.documents}
        return sorted(path for path in (root / BOARDS).glob("gw-*.json") if path.name not in expected)


def generate(catalogue: Catalogue) -> Provisioning:
    """The written boards that the catalogue can fill, boards for all else that it has, and the alerts on them."""
    metrics = Metrics(catalogue)
    documents: list[Document] = []
    left_out: dict[str, str] = {}
    for title, build in boards.WRITTEN.items():
        attempt = Metrics(catalogue)
        try:
            documents.append(finished(build(BoardVariables(attempt))))
        except NotInCatalogue as exc:
            left_out[title] = str(exc)
        else:
            metrics.asked.update(attempt.asked)
    written = [document["uid"] for document in documents]
    documents += [finished(board) for board in generated.build(metrics, written)]
    keep_links_to(written, documents)
    found = alerts.choose_alerts(metrics, documents)
    for alert in found:
        panel_of(alert, documents)["description"] += f"\n\nAlert “{alert.title}”: {alert.summary} {alert.runbook}"
    return Provisioning(metrics, documents, found, left_out)
