"""Dashboard variables, the same everywhere, so that links carry them over."""

from collections.abc import Callable

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.expressions import Source
from dashboards.queries import CHOSEN

Variable = Builder[models.VariableModel]

ENV = 'env=~"$env"'
APP = 'app_name=~"$app"'
PROVIDER = 'provider=~"$provider"'
MODEL = 'model=~"$model"'
JOB = 'job=~"$job"'
INSTANCE = 'instance=~"$instance"'

gateway = Source((ENV,))
http = Source((ENV, APP))
providers = Source((ENV, PROVIDER))
models_of_providers = Source((ENV, PROVIDER, MODEL))
service = Source((JOB, INSTANCE))


def datasource() -> Variable:
    """Which Prometheus is asked: this service, or any that has the same metrics."""
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus").multi(False)


def env() -> Variable:
    """The deployment. One at a time: summed together, staging would count as production.

    Without a label `env` it is empty, and matches the series that have none.
    """
    return _query("env", "Deployment", "fastapi_requests_total", ()).multi(False).include_all(False)


def app() -> Variable:
    """The application within the deployment."""
    return _several("app", "Application", "fastapi_requests_total", (ENV,), label="app_name")


def provider() -> Variable:
    """The model providers."""
    return _several("provider", "Provider", "model_inference_requests_total", (ENV,))


def model() -> Variable:
    """The models of the chosen providers."""
    return _several("model", "Model", "model_inference_requests_total", (ENV, PROVIDER))


def interval() -> Variable:
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


def job() -> Variable:
    """The scrape job of this service."""
    return _several("job", "Job", "gatewayz_metrics_upstream_up", ())


def instance() -> Variable:
    """The replicas of this service."""
    return _several("instance", "Instance", "gatewayz_metrics_upstream_up", (JOB,))


ORDER: tuple[Callable[[], Variable], ...] = (datasource, env, app, provider, model, interval, job, instance)


def _several(name: str, title: str, metric: str, matchers: tuple[str, ...], *, label: str = "") -> Variable:
    query = _query(name, title, metric, matchers, label=label or name)
    everything = models.VariableOption(text=["All"], value=["$__all"])
    return query.multi(True).include_all(True).all_value(".+").current(everything)


def _query(name: str, title: str, metric: str, matchers: tuple[str, ...], *, label: str = "") -> builders.QueryVariable:
    query = f"label_values({Source(matchers).raw(metric)}, {label or name})"
    return (
        builders.QueryVariable(name)
        .label(title)
        .datasource(CHOSEN)
        .query({"query": query, "refId": name, "qryType": 1})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
