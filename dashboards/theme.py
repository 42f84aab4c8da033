"""How everything looks: names, colours, thresholds, legend, tooltip, and the promise the service is measured by."""

from dataclasses import dataclass, replace
from typing import Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

TAG: Final = "gatewayz"
PLUGIN_VERSION: Final = "11.6.0"
SCRAPE_SECONDS: Final = 15
SCRAPE_INTERVAL: Final = f"{SCRAPE_SECONDS}s"
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
NOT_SCRAPED: Final = "Not scraped, or none yet: no Prometheus reads this service's /metrics, or nothing has happened"
# Where a gateway registers a family and counts nothing in it.
NOT_WRITTEN: Final = "Not written by the gateway"
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


# Digits behind the point, by unit: counts have none, though an increase over a range is estimated as a fraction.
DECIMALS: Final = {"short": 0, "locale": 0, "percentunit": 2, "percent": 2, "currencyUSD": 2}


def as_shown(unit: str) -> str:
    """The unit of a number that stands alone: a count in full, for 2.1 K could be 2,149."""
    return "locale" if unit == "short" else unit


# Labels with a dozen values or more.
MANY: Final = frozenset(["provider", "model", "path", "gateway"])
# Points of a graph with a line for each of those. One per pixel would take rates and quantiles over so few events
# that every line jumps between its extremes; the window of each point follows from how many there are.
FEW_POINTS: Final = 100
# Lines of one label that a graph shows where there may be dozens.
FEW_LINES: Final = 8


# The least that an axis shows, by unit: with zeros alone Grafana would draw 0 to 100, or 0 to 10000%.
LEAST_AXIS: Final = {"short": 1, "none": 1, "percentunit": 0.05, "percent": 5, "bytes": 1024}


def by_name() -> builders.FieldColor:
    """A colour that follows from the name."""
    return builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def fixed(colour: str) -> builders.FieldColor:
    """One colour for everything, which judges nothing."""
    return builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(colour)


def status_colours(*, apart: bool) -> dict[str, list[models.DynamicConfigValue]]:
    """Overrides by the status codes that legends begin with; `apart` gives failures an axis of their own."""
    axis = [models.DynamicConfigValue("custom.axisPlacement", "right")] if apart else []
    axis += [models.DynamicConfigValue("custom.axisLabel", "failed or refused")] if apart else []
    found = {"/^2/": (GREEN, []), "/^3/": (BAR, []), "/^4/": (AMBER, axis), "/^5/": (RED, axis)}
    return {
        pattern: [models.DynamicConfigValue("color", {"mode": "shades", "fixedColor": colour}), *more]
        for pattern, (colour, more) in found.items()
    }


def or_more(bound: float) -> models.ValueMap:
    """A quantile at the bound of a histogram's last bucket: all that is known is that it is not less."""
    text = f"{bound:g} s or more"
    return models.ValueMap({f"{bound:g}": models.ValueMappingResult(text=text, index=0)})


def legend(*, shown: bool = True, long_names: bool = False) -> common_builders.VizLegendOptions:
    """The legend of a graph, beside it where names are long; a graph whose options are set without one loses it."""
    mode = common.LegendDisplayMode.TABLE if long_names else common.LegendDisplayMode.LIST
    place = common.LegendPlacement.RIGHT if long_names else common.LegendPlacement.BOTTOM
    return common_builders.VizLegendOptions().display_mode(mode).placement(place).show_legend(shown).calcs([])


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
