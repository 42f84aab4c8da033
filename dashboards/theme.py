"""How everything looks: names, colours, thresholds, legend, tooltip, and the promise the service is measured by."""

from dataclasses import dataclass, replace
from typing import Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

TAG: Final = "gatewayz"
PLUGIN_VERSION: Final = "11.6.0"
SCRAPE_INTERVAL: Final = "15s"
GRID: Final = 24  # columns

GREEN, AMBER, RED, GREY = "green", "orange", "red", "text"
# A state that nothing tells of: neither the text's black or white, nor a colour that judges.
GONE: Final = "#8e8e8e"
# Bars that show how much, not how good.
BAR: Final = "blue"

# The promise counts failures of model providers too (502 and 503), so it is lower than that of a plain web service.
OBJECTIVE: Final = 0.99
BUDGET: Final = f"{1 - OBJECTIVE:g}"
OBJECTIVE_DAYS: Final = "30d"
# Two per cent of a month's budget within an hour, five per cent within six: https://sre.google/workbook/alerting-on-slos/
FAST_BURN: Final = 14.4
SLOW_BURN: Final = 6.0

# What a panel says when nothing answers its query. Panels that know more say more.
NO_DATA: Final = "Nothing in this range"
NOT_SCRAPED: Final = "Not scraped: no Prometheus reads this service's /metrics"
# Below every value. The first step holds for what has no value as well, so no colour that judges begins there.
_LOWEST: Final = -1e9


@dataclass(frozen=True)
class Steps(Builder[models.ThresholdsConfig]):
    """The colour from each value on. What is missing (null, NaN, no answer) has that of the base: neutral, or red."""

    steps: tuple[tuple[float, str], ...] = ()
    base: str = GREY

    def build(self) -> models.ThresholdsConfig:
        """The thresholds as Grafana has them."""
        found = [models.Threshold(value=value, color=color) for value, color in ((None, self.base), *self.steps)]
        return models.ThresholdsConfig(mode=models.ThresholdsMode.ABSOLUTE, steps=found)

    @property
    def lines(self) -> "Steps":
        """Those that a graph can draw as lines."""
        return replace(self, steps=tuple(step for step in self.steps if step[0] > _LOWEST))

    @property
    def highest(self) -> float:
        """The last threshold: an axis has to reach it, or nobody sees how far the values are from it."""
        return max(value for value, _ in self.steps)


def above(amber: float, red: float) -> Steps:
    """Worse the higher it is."""
    return Steps(((_LOWEST, GREEN), (amber, AMBER), (red, RED)))


def below(red: float, amber: float) -> Steps:
    """Worse the lower it is: red under the first number, amber under the second."""
    return Steps(((_LOWEST, RED), (red, AMBER), (amber, GREEN)))


def at_least(enough: float) -> Steps:
    """Red below a number, green from there."""
    return Steps(((_LOWEST, RED), (enough, GREEN)))


def plain() -> Steps:
    """Neither good nor bad."""
    return Steps()


def dead() -> Steps:
    """Red where nothing answers: for the panel that is about the answer itself."""
    return Steps(base=RED)


def legend(*, shown: bool = True) -> common_builders.VizLegendOptions:
    """The legend under a graph; a graph whose options are set without one loses it."""
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(shown)
        .calcs([])
    )


def tooltip() -> common_builders.VizTooltipOptions:
    """All series at the pointer, the largest first."""
    return common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


def last_value() -> common_builders.ReduceDataOptions:
    """The newest value that is one; what is left out here would mean the newest, null included."""
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"])


def texts(**results: tuple[str, str]) -> models.ValueMap:
    """Values shown as a word in a colour: `_1=("up", GREEN)` for the value 1."""
    return models.ValueMap(
        {
            value.removeprefix("_"): models.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(results.items())
        }
    )


def missing(text: str) -> models.SpecialValueMap:
    """No value as a text in grey: it must look like neither zero nor an alarm."""
    result = models.ValueMappingResult(text=text, color=GREY, index=0)
    options = models.DashboardSpecialValueMapOptions(match=models.SpecialValueMatch.NULL_AND_NAN, result=result)
    return models.SpecialValueMap(options)
