"""What is measured, against what, and what must be reached: one line per row of the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A row. `must` and `moonshot` bound the ratio to the yardstick, or with `is_absolute` our own figure."""

    key: str
    title: str
    unit: str
    yardstick: str
    must: float | None = None
    moonshot: float | None = None
    more_is_better: bool = False
    is_absolute: bool = False

    def reached(self, value: float) -> str:
        """`moonshot`, `must` or `no`; nothing for a row without a goal."""
        if self.must is None or self.moonshot is None:
            return ""
        if self._is_within(value, self.moonshot):
            return "moonshot"
        return "must" if self._is_within(value, self.must) else "no"

    def _is_within(self, value: float, bound: float) -> bool:
        return value >= bound if self.more_is_better else value <= bound


PREBUILT = "FastAPI and uvicorn, prebuilt bytes"
TRICKSTER = "Trickster"

_ROWS = (
    Goal("warm_summary", "warm `/summary`, 50 clients", "requests/s", PREBUILT, 2.5, 3.4, more_is_better=True),
    Goal("warm_text", "warm `/system`, 50 clients", "requests/s", PREBUILT, 2.5, 3.4, more_is_better=True),
    Goal("distinct_latency", "distinct instant queries, 1 client", "ms", "direct", 7, 4),
    Goal("distinct_rate", "distinct instant queries, 50 clients", "requests/s", TRICKSTER, 1, 1.5, more_is_better=True),
    Goal("labels_rate", "cached label values, 50 clients", "requests/s", TRICKSTER, 1, 1.3, more_is_better=True),
    Goal(
        "range_hits", "warm range hits of 1 MB, 10 clients, gzip", "requests/s", TRICKSTER, 1, 1.5, more_is_better=True
    ),
    Goal("cold_summary", "cold `/summary`", "ms", "one joined query", 0.8, 0.7),
    Goal("cold_all", "cold `/all`", "ms", "`/federate`", 1.5, 1.15),
    Goal("cold_models", "cold `/models`", "ms", "`/federate`", 1.7, 1.2),
    Goal("cold_range", "cold range of 5 MB", "ms", "direct", 1.5, 1.2),
    Goal("wide_partial", "25,000 series x 31 points, one point new", "ms", "direct", 1.2, 0.5),
    Goal(
        "refresh", "refresh of 20 panels, 6 h at 15 s", "CPU s", "engine asked directly", 0.12, 0.08, is_absolute=True
    ),
    Goal(
        "livez", "longest wait of `/livez` during any answer", "ms", "engine asked directly", 50, 20, is_absolute=True
    ),
    Goal("memory", "memory at most, `/all` of 200,000 series", "MB", "before it", 200, 150, is_absolute=True),
    Goal("old_summary", "cold `/summary`, the old module's way", "ms", "ours"),
    Goal("old_all", "cold `/all`, the old module's way", "ms", "ours"),
)
GOALS = {goal.key: goal for goal in _ROWS}
