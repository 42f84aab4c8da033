"""A dashboard from its table of contents: variables, rows, panels."""

from collections.abc import Iterable, Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from dashboards import annotations, links, theme
from dashboards.expressions import Selection
from dashboards.panels import Panel
from dashboards.variables import BoardVariables, Variable

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
    scraped: str | None = None,
    empty: str = theme.NO_DATA,
) -> models.Dashboard:
    """The dashboard that answers one question.

    `scraped` is what is there while its system is scraped, where that is not the catalogue's; empty where it has no
    graphs. `empty` is why its panels have no data, where they do not know.
    """
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
    if restarts and annotations.IN_PROGRESS in v.metrics.families:
        found.annotation(annotations.restarts(v.gateway))
    series = scraped if scraped is not None else v.metrics.presence and v.gateway.foreign(v.metrics.presence)
    if series:
        found.annotation(annotations.missing_scrapes(series, Selection(v.metrics)))
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
        for mapping in config.defaults.mappings or []:
            # Where there is no answer at all, Grafana looks here before it looks there.
            if isinstance(mapping, models.SpecialValueMap):
                mapping.options.result.text = config.defaults.no_value
