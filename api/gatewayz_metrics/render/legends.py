"""What a series is called: the user's template, or the shortest name that tells series apart."""

import re
from collections.abc import Mapping, Sequence

from gatewayz_metrics.promql.text import quote

# As in Grafana's own Prometheus datasource: `{{label}}`, blanks allowed.
_SLOT = re.compile(r"\{\{\s*([^{}\s]{1,100})\s*\}\}")


def from_template(template: str, labels: Mapping[str, str]) -> str:
    """The template with every `{{label}}` replaced; a label that is absent leaves nothing."""
    return _SLOT.sub(lambda slot: labels.get(slot[1], ""), template)


def metric_text(labels: Mapping[str, str]) -> str:
    """A series as Prometheus writes it: `up{job="api"}`."""
    pairs = ", ".join(f"{name}={quote(value)}" for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{pairs}}}" if pairs else "")


def series_name(template: str, labels: Mapping[str, str], fallback: str) -> str:
    """The name of a series in a legend."""
    if template:
        return from_template(template, labels) or fallback
    return metric_text(labels) or fallback


def short_names(all_labels: Sequence[Mapping[str, str]], fallback: str) -> list[str]:
    """Names for the series of one catalogue entry, whose own name goes without saying."""
    names = {name for labels in all_labels for name in labels}
    if len(names) == 1:
        only = names.pop()
        return [labels.get(only) or fallback for labels in all_labels]
    return [metric_text(labels) or fallback for labels in all_labels]
