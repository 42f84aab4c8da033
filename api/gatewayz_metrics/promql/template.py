"""Slots of catalogue expressions: `$selector` inside braces, `$window` inside brackets."""

import re
from dataclasses import dataclass

from gatewayz_metrics.promql.text import quote

# Every sample that this service exports carries the marker, and no selector of the
# catalogue sees a marked series: when a Prometheus scrapes us and we ask that same
# Prometheus, our own numbers never come back in.
MARKER_LABEL = "aggregated_by"
MARKER_VALUE = "gatewayz-metrics"

_SLOT = re.compile(r"\$(selector|window)\b")


@dataclass(frozen=True, slots=True)
class Slots:
    """What a deployment puts into the slots."""

    selector: str = ""
    window: str = "5m"

    def fill(self, template: str) -> str:
        """The template as PromQL."""
        own = f'{MARKER_LABEL}=""'
        values = {"selector": f"{self.selector},{own}" if self.selector else own, "window": self.window}
        return _SLOT.sub(lambda slot: values[slot[1]], template)


def slots_in(template: str) -> int:
    """How many selectors a template has; a measure of what it costs to evaluate."""
    return template.count("$selector")


def with_label(expression: str, label: str, value: str) -> str:
    """The expression with one label set on every series of its result."""
    # An empty source label always matches the empty pattern. `$` would start a group reference.
    return f'label_replace({expression},"{label}",{quote(value.replace("$", "$$"))},"","")'
