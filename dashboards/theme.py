"""How everything looks: names, colours, thresholds, legend, tooltip, and the promise the service is measured by."""

from typing import Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

TAG: Final = "gatewayz"
PLUGIN_VERSION: Final = "11.6.0"
SCRAPE_INTERVAL: Final = "15s"
GRID: Final = 24  # columns

GREEN, AMBER, RED, GREY = "green", "orange", "red", "text"

# The promise counts failures of model providers too (502 and 503), so it is lower than that of a plain web service.
OBJECTIVE: Final = 0.99
BUDGET: Final = f"{1 - OBJECTIVE:g}"
OBJECTIVE_DAYS: Final = "30d"
# Two per cent of a month's budget within an hour, five per cent within six: https://sre.google/workbook/alerting-on-slos/
FAST_BURN: Final = 14.4
SLOW_BURN: Final = 6.0

Steps = builders.ThresholdsConfig


def above(amber: float, red: float) -> Steps:
    """Worse the higher it is."""
    return _steps((None, GREEN), (amber, AMBER), (red, RED))


def below(red: float, amber: float) -> Steps:
    """Worse the lower it is: red under the first number, amber under the second."""
    return _steps((None, RED), (red, AMBER), (amber, GREEN))


def at_least(enough: float) -> Steps:
    """Red below a number, green from there."""
    return _steps((None, RED), (enough, GREEN))


def plain() -> Steps:
    """Neither good nor bad."""
    return _steps((None, GREEN))


def _steps(*steps: tuple[float | None, str]) -> Steps:
    thresholds = [models.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)


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


def missing() -> models.SpecialValueMap:
    """No value as N/A in grey: it must look like neither zero nor an alarm."""
    result = models.ValueMappingResult(text="N/A", color=GREY, index=0)
    options = models.DashboardSpecialValueMapOptions(match=models.SpecialValueMatch.NULL, result=result)
    return models.SpecialValueMap(options)
