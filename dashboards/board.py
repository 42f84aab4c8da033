"""A dashboard from its table of contents: variables, rows, panels."""

from collections.abc import Iterable, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from dashboards import links, queries, theme
from dashboards.expressions import Source
from dashboards.panels import Panel
from dashboards.variables import ENV, Variable

Row = tuple[str, Sequence[Panel]]


def board(
    uid: str,
    title: str,
    question: str,
    *,
    variables: Iterable[Variable],
    rows: Iterable[Row],
    since: str,
    refresh: str = "30s",
    restarts: bool = True,
) -> models.Dashboard:
    """The dashboard that answers one question."""
    found = (
        builders.Dashboard(f"{theme.FOLDER} / {title}")
        .uid(uid)
        .description(question)
        .tags([theme.TAG])
        .readonly()
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(list(variables))
        .link(links.all_dashboards())
    )
    if restarts:
        found.annotation(_restarts())
    for name, panels in rows:
        found.with_row(builders.Row(name))
        for panel in panels:
            found.with_panel(panel)
    return found.build()


def _restarts() -> builders.AnnotationQuery:
    starts = f"changes({Source((ENV,)).raw('process_start_time_seconds')}[2m])"
    # Other processes of the deployment have start times as well.
    gateways = f"group by (job, instance) ({Source((ENV,)).raw('fastapi_requests_in_progress')})"
    return (
        builders.AnnotationQuery()
        .name("Gateway restarts")
        .datasource(queries.CHOSEN)
        .enable(True)
        .hide(False)
        .icon_color(theme.AMBER)
        .expr(f"({starts} and on (job, instance) {gateways}) > 0")
    )
