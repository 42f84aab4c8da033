"""The query parameters of the metrics routes.

Read by hand and remembered per query string: a dashboard asks the same few over and
over, and FastAPI's own reading took longer than everything else of a warm answer.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.datastructures import QueryParams

from gatewayz_metrics.errors import InvalidParameter
from gatewayz_metrics.render.summary import Values
from gatewayz_metrics.routes.time import unix_time

TIME = {
    "name": "time",
    "in": "query",
    "description": "Another moment than now: Unix seconds or RFC 3339.",
    "schema": {"type": "string"},
}
CATEGORY = {
    "name": "category",
    "in": "query",
    "description": "A section to narrow to; may be repeated. All when absent.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
VALUES = {
    "name": "values",
    "in": "query",
    "description": "Values as decimal strings, or as JSON numbers and null.",
    "schema": {"enum": [values.value for values in Values], "default": Values.STRING.value},
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request asks for; unknown parameters (cache busters, say) are ignored."""

    categories: frozenset[str]
    values: Values
    at: float | None


@lru_cache(512)
def parameters(query_string: bytes) -> Parameters:
    """The parameters in a query string. Raises InvalidParameter with a sentence."""
    query = QueryParams(query_string)
    return Parameters(frozenset(query.getlist("category")), _values(query), _at(query))


def described(*wanted: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a route for the OpenAPI schema."""
    return {"parameters": list(wanted)}


def _values(query: QueryParams) -> Values:
    text = query.get("values")
    try:
        return Values.STRING if text is None else Values(text)
    except ValueError:
        known = " and ".join(values.value for values in Values)
        raise InvalidParameter(f"The parameter values cannot be {text!r:.100}; there are {known}.") from None


def _at(query: QueryParams) -> float | None:
    text = query.get("time")
    try:
        return None if text is None else unix_time(text)
    except ValueError as exc:
        raise InvalidParameter(f"The parameter time cannot be {text!r:.100}: {exc}.") from None
