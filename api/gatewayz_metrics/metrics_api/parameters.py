"""The query parameters of the metrics routes.

Read by hand and remembered per query string: a dashboard asks the same few over and
over, and FastAPI's own reading took longer than everything else of a warm answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.errors import InvalidParameter
from gatewayz_metrics.metrics_api.exposition import ExpositionFormat
from gatewayz_metrics.metrics_api.summary import ValueFormat
from gatewayz_metrics.promql.times import parse_time, require_date

TIME = {
    "name": "time",
    "in": "query",
    "description": "Another moment than now: Unix seconds, or RFC 3339 with an offset.",
    "schema": {"type": "string"},
}
CATEGORY = {
    "name": "category",
    "in": "query",
    "description": "A section to narrow to; may be repeated. All when absent.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
CATEGORY_PATH = {
    "name": "category",
    "in": "path",
    "required": True,
    "description": "A category of the catalogue.",
    "schema": {"type": "string"},
}
VALUES = {
    "name": "values",
    "in": "query",
    "description": "Values as decimal strings, or as JSON numbers and null.",
    "schema": {"enum": [values.value for values in ValueFormat], "default": ValueFormat.STRING.value},
}
SOURCES = {
    "name": "sources",
    "in": "query",
    "description": "Whether the answer tells which expression gave each value; the name alone means yes.",
    "schema": {"type": "boolean", "default": False},
}
_FLAGS = {"": True, "true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class MetricsParams:
    """What a request asks for; unknown parameters (cache busters, say) are ignored."""

    categories: frozenset[str]
    values: ValueFormat
    at: float | None
    sources: bool


@remember_short(512)
def parse_params(query_string: bytes) -> MetricsParams:
    """The parameters in a query string. Raises InvalidParameter with a sentence."""
    query = QueryParams(query_string)
    return MetricsParams(frozenset(query.getlist("category")), _values(query), _at(query), _sources(query))


@remember_short(512)
def parse_moment(query_string: bytes) -> float | None:
    """The moment that a query string asks for, in Unix seconds. Raises InvalidParameter with a sentence."""
    return _at(QueryParams(query_string))


def _values(query: QueryParams) -> ValueFormat:
    text = query.get("values")
    try:
        return ValueFormat.STRING if text is None else ValueFormat(text)
    except ValueError:
        known = " and ".join(values.value for values in ValueFormat)
        raise InvalidParameter(f"The parameter values cannot be {text!r:.100}; there are {known}.") from None


def _sources(query: QueryParams) -> bool:
    text = query.get("sources", "false")
    if text.lower() not in _FLAGS:
        raise InvalidParameter(f"The parameter sources cannot be {text!r:.100}; there are true and false.")
    return _FLAGS[text.lower()]


def _at(query: QueryParams) -> float | None:
    text = query.get("time")
    return None if text is None else read_time("time", text) / 1000


def read_time(name: str, text: str) -> int:
    """A parameter that is a time, in Unix milliseconds. Raises InvalidParameter with a sentence."""
    try:
        return require_date(parse_time(text), text, "Unix seconds such as 1735041600")
    except ValueError as exc:
        raise InvalidParameter(f"The parameter {name} cannot be {text!r:.100}: {exc}.") from None


# Which exposition a client's Accept header asks for (RFC 9110, 12.5.1).

# Characters; a longer one says nothing.
_LONGEST_ACCEPT = 4096


@remember_short(256)
def negotiate_format(accept: str) -> ExpositionFormat:
    """The best rated format that we write; plain text for everybody who names none of them."""
    if len(accept) > _LONGEST_ACCEPT:
        return ExpositionFormat.PLAIN
    ranked = sorted(_offers(accept), key=lambda offer: -offer[0])
    return ranked[0][1] if ranked else ExpositionFormat.PLAIN


def _offers(accept: str) -> Iterator[tuple[float, ExpositionFormat]]:
    for item in accept.split(","):
        media, *pairs = (part.strip() for part in item.split(";"))
        parameters = {k.strip().lower(): v.strip().strip('"') for k, _, v in (pair.partition("=") for pair in pairs)}
        weight = _weight(parameters.get("q", "1"))
        form = _form(media.lower(), parameters.get("version"))
        if form is not None and weight > 0:
            yield weight, form


def _form(media: str, version: str | None) -> ExpositionFormat | None:
    match media, version:
        case "application/openmetrics-text", None | "1.0.0":
            return ExpositionFormat.OPENMETRICS
        case "text/plain", "0.0.4":
            return ExpositionFormat.TEXT
        case (("text/plain" | "text/*" | "*/*"), None):
            return ExpositionFormat.PLAIN
    return None


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
