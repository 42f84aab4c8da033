"""A dashboard from its table of contents: variables, rows, panels."""

from collections.abc import Iterable, Sequence

from gatewayz_metrics.promql.build import aggregate, growth
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from dashboards import links, queries, theme
from dashboards.panels import Panel
from dashboards.variables import BoardVariables, Variable

IN_PROGRESS = "fastapi_requests_in_progress"

Row = tuple[str, Sequence[Panel]]


def board(
    v: BoardVariables,
    uid: str,
    title: str,
    question: str,
    *,
    variables: Iterable[Variable | None],
    rows: Iterable[Row],
    since: str,
    refresh: str = "30s",
    restarts: bool = True,
    empty: str = theme.NO_DATA,
) -> models.Dashboard:
    """The dashboard that answers one question; `empty` is why its panels have no data, where they do not know."""
    found = (
        builders.Dashboard(f"{v.metrics.catalogue.title} / {title}")
        .uid(uid)
        .description(question)
        .tags([theme.TAG])
        .readonly()
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([variable for variable in variables if variable is not None])
        .link(links.all_dashboards())
    )
    if restarts and IN_PROGRESS in v.metrics.families:
        found.annotation(_restarts(v))
    for name, panels in rows:
        found.with_row(builders.Row(name))
        for panel in panels:
            found.with_panel(panel)
    built = found.build()
    for made in built.panels or []:
        _explain(made, empty)
    return built


def _explain(made: models.Panel | models.RowPanel, empty: str) -> None:
    config = made.field_config if isinstance(made, models.Panel) else None
    if config is not None and config.defaults.no_value == theme.NO_DATA:
        # A number's place holds no sentence.
        config.defaults.no_value = empty.partition(":")[0] if made.type_val in ("stat", "gauge") else empty


def _restarts(v: BoardVariables) -> builders.AnnotationQuery:
    starts = growth("changes", v.gateway.foreign("process_start_time_seconds"), "2m")
    # Other processes of the deployment have start times as well.
    gateways = aggregate("group", ("job", "instance"), v.gateway.series(IN_PROGRESS))
    return (
        builders.AnnotationQuery()
        .name("Gateway restarts")
        .datasource(queries.CHOSEN)
        .enable(True)
        # Its switch would push the list of dashboards to a line of its own.
        .hide(True)
        .icon_color(theme.AMBER)
        .expr(f"({starts} and on (job, instance) {gateways}) > 0")
    )
