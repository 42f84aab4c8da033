"""Keys and values for ad-hoc filters, each narrowed by the filters chosen already."""

from collections.abc import Sequence

from gatewayz_metrics.datasource.panels import Panels
from gatewayz_metrics.datasource.questions import Bounds, Questions
from gatewayz_metrics.datasource.requests import TagRequest
from gatewayz_metrics.errors import InvalidQuery
from gatewayz_metrics.promql.filters import Filter, matchers_of

# What nobody filters by: the name has its own place, the marker is on our own exports only.
_HIDDEN = frozenset(["__name__"])
_MOST = 1000


class Tags:
    """What the ad-hoc filter's pickers offer."""

    def __init__(self, panels: Panels, questions: Questions) -> None:
        self._panels = panels
        self._questions = questions

    async def keys(self, request: TagRequest) -> tuple[str, ...]:
        """The labels that series within the other filters and the range have."""
        names = await self._questions.label_names(_selector(request.filters), self._bounds(request))
        return tuple(name for name in names if name not in _HIDDEN)[:_MOST]

    async def values(self, request: TagRequest) -> tuple[str, ...]:
        """The values of one label within the other filters and the range."""
        if not request.key:
            return ()
        others = [one for one in request.filters if one.key != request.key]
        return (await self._questions.label_values(request.key, _selector(others), self._bounds(request)))[:_MOST]

    def _bounds(self, request: TagRequest) -> Bounds:
        asked = request.time_range
        return None if asked.from_ is None or asked.to is None else self._panels.bounds(asked)


def _selector(filters: Sequence[Filter]) -> str:
    """Complete filters as a selector; one that PromQL lacks (`<`) narrows nothing, as a picker has no errors."""
    usable = [one for one in filters if one.is_complete and one.operator in _OPERATORS]
    try:
        matchers = matchers_of(usable)
    except ValueError as exc:
        raise InvalidQuery(str(exc)) from exc
    if not matchers:
        return ""
    # An engine refuses a selector that the empty label would match, too.
    needs_name = not any(one.operator in ("=", "=|") for one in usable)
    return f'{{__name__!="",{matchers}}}' if needs_name else f"{{{matchers}}}"


_OPERATORS = frozenset(["=", "!=", "=~", "!~", "=|", "!=|"])
