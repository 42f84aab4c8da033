"""What boards mark on their graphs: restarts of the gateway, and where scrapes are missing."""

from dataclasses import dataclass, field

from gatewayz_metrics.promql.build import aggregate, growth
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards import queries, theme
from dashboards.expressions import Selection

IN_PROGRESS = "fastapi_requests_in_progress"

_TARGET = ("job", "instance")
# Where fewer scrapes succeeded than this part of those in the window before, some are missing.
_ENOUGH = 0.75
# Of so few, one more or less is chance: scrapes may come less often than the datasource has been told.
_TOO_FEW = 3
# At least four scrapes, and a little more than lies between two points: nothing is between two windows.
_WINDOW = "$__rate_interval"


class DescribedAnnotation(models.AnnotationQuery):
    """An annotation with a title and a text, which Grafana's Prometheus datasource reads and the SDK lacks."""

    title = text = ""

    def to_json(self) -> dict[str, object]:
        """The annotation as Grafana stores it."""
        return {**super().to_json(), "titleFormat": self.title, "textFormat": self.text}


@dataclass(frozen=True)
class Annotation(Builder[models.AnnotationQuery]):
    """Marks where an expression has a value above zero."""

    name: str
    expr: str
    text: str
    colour: str = field(default=theme.AMBER)

    def build(self) -> models.AnnotationQuery:
        """The annotation. Its switch would push the list of dashboards to a line of its own."""
        found = DescribedAnnotation(
            name=self.name, datasource=queries.CHOSEN, hide=True, icon_color=self.colour, expr=self.expr
        )
        found.title, found.text = self.name, self.text
        return found


def restarts(deployment: Selection) -> Annotation:
    """The starts of the gateway's processes."""
    starts = growth("changes", deployment.foreign("process_start_time_seconds"), _WINDOW)
    # Other processes of the deployment have start times as well.
    gateways = aggregate("group", _TARGET, deployment.series(IN_PROGRESS))
    return Annotation("Gateway restarts", f"({starts} and on (job, instance) {gateways}) > 0", "It counts from zero.")


def missing_scrapes(series: str, everything: Selection) -> Annotation:
    """Where some target was scraped less than before, or none at all; `series` is what they have while they are.

    That nothing was there before the first scrape counts as well: nobody knows what happened then.
    """
    # Scrapes that failed are zeros of `up`, which may lack the deployment's label: its targets are found by these two.
    targets = aggregate("group", _TARGET, f"last_over_time({series}[{_WINDOW}])")
    up = everything.foreign("up")
    # The window after one without any begins within the gap.
    shifts = ("", f" offset {_WINDOW}")
    now, before = (f"sum_over_time({up}[{_WINDOW}]{shift})" for shift in shifts)
    none = " or ".join(f"absent_over_time({series}[{_WINDOW}]{shift})" for shift in shifts)
    return Annotation(
        "Scrapes missing",
        f"group({now} < {_ENOUGH} * ({before} > {_TOO_FEW}) and on (job, instance) {targets} or {none})",
        "Rates over a window that reaches into this show less than there was.",
        theme.GONE,
    )
