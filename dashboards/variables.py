"""Dashboard variables, the same everywhere, so that links carry them over, and metrics under their matchers."""

from dataclasses import dataclass
from functools import cached_property

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards import theme
from dashboards.expressions import TRAFFIC, Metrics, Selection
from dashboards.queries import CHOSEN, PROMETHEUS_NAME, PROMETHEUS_UID

Variable = Builder[models.VariableModel]

CALLS = "model_inference_requests_total"
UP = "gatewayz_metrics_upstream_up"

APP = 'app_name=~"$app"'
PROVIDER = 'provider=~"$provider"'
MODEL = 'model=~"$model"'
JOB = 'job=~"$job"'
INSTANCE = 'instance=~"$instance"'


@dataclass(frozen=True)
class BoardVariables:
    """What a board can let people choose, and for each choice the metrics that it leaves."""

    metrics: Metrics

    @cached_property
    def gateway(self) -> Selection:
        """Everything of the chosen deployment."""
        label = self.metrics.catalogue.deployment_label
        return Selection(self.metrics, (f'{label}=~"$env"',) if label else ())

    @cached_property
    def http(self) -> Selection:
        """The chosen application."""
        return self.gateway.where(APP)

    @cached_property
    def providers(self) -> Selection:
        """The chosen providers."""
        return self.gateway.where(PROVIDER)

    @cached_property
    def models_of_providers(self) -> Selection:
        """The chosen models of the chosen providers."""
        return self.providers.where(MODEL)

    @cached_property
    def service(self) -> Selection:
        """The chosen replicas of this service."""
        return Selection(self.metrics, (JOB, INSTANCE))

    def datasource(self) -> Variable:
        """Which Prometheus is asked: this service, or any that has the same metrics."""
        # Without a current one the board opens on whichever comes first by name.
        current = models.VariableOption(text=PROMETHEUS_NAME, value=PROMETHEUS_UID)
        found = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
        return found.multi(False).current(current)

    def env(self) -> Variable | None:
        """The deployment, where the catalogue names a label for it. One: summed, staging would count as production.

        Where nothing has the label it is empty, and matches the series that have none.
        """
        label = self.metrics.catalogue.deployment_label
        if label is None:
            return None
        everything = Selection(self.metrics).foreign(self.metrics.presence)
        return _query("env", "Deployment", everything, label).multi(False).include_all(False)

    def app(self) -> Variable:
        """The application within the deployment."""
        return _several("app", "Application", self.gateway.series(TRAFFIC), "app_name")

    def provider(self) -> Variable:
        """The model providers."""
        return _several("provider", "Provider", self.gateway.series(CALLS))

    def model(self) -> Variable:
        """The models of the chosen providers."""
        return _several("model", "Model", self.providers.series(CALLS))

    def busiest(self, label: str, source: Selection, counter: str) -> Variable:
        """The few values of a label with most of something over the range: more lines than these are a tangle.

        Chosen here and not in each expression, whose text then stays the same while they do: `topk` in a graph draws
        lines that come and go, and one over the whole range would keep the graph out of the range cache.
        """
        most = source.increase(counter, [label]).top(theme.FEW_LINES).promql
        everything = models.VariableOption(text=["All"], value=["$__all"])
        return (
            builders.QueryVariable("busiest")
            .label("Busiest")
            .datasource(CHOSEN)
            .query({"query": f"query_result({most})", "refId": "busiest", "qryType": 3})
            .regex(f'/{label}="([^"]*)"/')
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.DISABLED)
            .multi(True)
            .include_all(True)
            .current(everything)
            .hide(models.VariableHide.HIDE_VARIABLE)
        )

    def interval(self) -> Variable:
        """The width of a bar where things are counted."""
        return (
            builders.IntervalVariable("interval")
            .label("Interval")
            .values("1m,5m,15m,1h")
            .auto(True)
            .step_count(30)
            .min_interval("1m")
            .current(models.VariableOption(text="auto", value="$__auto_interval_interval"))
        )

    def job(self) -> Variable:
        """The scrape job of this service."""
        return _several("job", "Job", Selection(self.metrics).series(UP))

    def instance(self) -> Variable:
        """The replicas of this service."""
        return _several("instance", "Instance", Selection(self.metrics, (JOB,)).series(UP))


def _several(name: str, title: str, series: str, label: str = "") -> Variable:
    everything = models.VariableOption(text=["All"], value=["$__all"])
    query = _query(name, title, series, label or name)
    return query.multi(True).include_all(True).all_value(".+").current(everything)


def _query(name: str, title: str, series: str, label: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(title)
        .datasource(CHOSEN)
        .query({"query": f"label_values({series}, {label})", "refId": name, "qryType": 1})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
