"""Ways from one dashboard to the next that keep time, datasource and deployment."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards import theme

Link = Builder[models.DashboardLink]

# Not ${__url_time_range}: it brings a time zone along, and in a table that is UTC, whatever the viewer has.
TIME = "from=${__from}&to=${__to}"
_KEPT = f"${{datasource:queryparam}}&${{env:queryparam}}&{TIME}"


def all_dashboards() -> Link:
    """The list of the dashboards, in the head of each."""
    return (
        builders.DashboardLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([theme.TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .icon("external link")
    )


def to_board(title: str, uid: str, **variables: str) -> Link:
    """From a panel or a value to a dashboard, with some of its variables set."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return builders.DashboardLink(title).url(f"/d/{uid}?{_KEPT}{chosen}")


def to_provider(field: str = "${__field.labels.provider}") -> Link:
    """From a provider's series, or a cell that names it."""
    return to_board("This provider", "gw-providers", provider=field)


def to_model(field: str = "${__field.labels.model}") -> Link:
    """From a model's series, or a cell that names it."""
    return to_board("This model", "gw-models", model=field)


def cell(column: str) -> str:
    """The text of another cell of the same table row."""
    return f"${{__data.fields.{column}}}"
