"""Bounds of a panel's request that hold after expansion and in sum.

A caller's text is counted as often as it would be sent or written, before that is done: filters once per selector,
a legend once per series. The numbers are far above what dashboards have.
"""

from gatewayz_metrics.errors import LimitExceeded

# How many queries of MAX_QUERY_LENGTH characters one request may have in sum.
_LENGTHS_IN_SUM = 4


class QueryBudget:
    """The characters of PromQL that one request may still send, the filters in every selector included."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self._left = _LENGTHS_IN_SUM * longest

    @property
    def is_overdrawn(self) -> bool:
        """Whether all queries together are too long."""
        return self._left < 0

    def spend(self, length: int) -> None:
        """Count one query. Raises LimitExceeded for the whole request when all of them are too long."""
        self._left -= length
        if self._left < 0:
            raise LimitExceeded(
                f"The queries of this request have more than {_LENGTHS_IN_SUM * self.longest:,} characters in sum, "
                "the filters in every selector included",
                "MAX_QUERY_LENGTH",
                f"{self.longest:,} for one and {_LENGTHS_IN_SUM} times as many for all",
            )


def count_characters(value: object) -> int:
    """The characters in a JSON value, names included; a number or a flag counts as one."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(name) + count_characters(each) for name, each in value.items())
    return sum(map(count_characters, value)) if isinstance(value, list) else 1
