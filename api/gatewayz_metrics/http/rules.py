"""Requests of alert and recording rules, told from those of people: nobody reads a warning that a rule gets."""

import re
from collections.abc import Mapping

# Programs that evaluate rules, or that do not say what they are: vmalert asks as a plain Go program.
_RULERS = re.compile(r"vmalert|thanos|mimir|cortex|prometheus|ruler|go-http-client", re.IGNORECASE)


def is_for_rule(headers: Mapping[str, str]) -> bool:
    """Whether an answer may decide about an alert, so that kept points must not stand in for the truth.

    `FromAlert: true` is Grafana's mark, and newer versions name the rule in `X-Rule-*`; header names are lower case.
    """
    if headers.get("fromalert", "").lower() == "true" or any(name.startswith("x-rule-") for name in headers):
        return True
    return bool(_RULERS.search(headers.get("user-agent", "")))
