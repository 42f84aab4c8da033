"""The parameters of a Prometheus API request, merged from the URL and the body as Go's FormValue does.

https://pkg.go.dev/net/http#Request.ParseForm: a form body counts for POST alone, its values stand
before the URL's, and a parameter that is read once is the first of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Request

from gatewayz_metrics.errors import InvalidParameter, LimitExceeded
from gatewayz_metrics.http.bodies import read_body
from gatewayz_metrics.http.openapi import FORM
from gatewayz_metrics.prometheus_api.vocabulary import READ_ONCE
from gatewayz_metrics.promql.times import TimeRange, parse_duration, parse_time
from gatewayz_metrics.upstream.request import Pairs

_MOST_FIELDS = 1000
_FRAME = 2**16


@dataclass(frozen=True, slots=True)
class RequestParams:
    """Parameters in one order, however they came."""

    pairs: Pairs

    def get(self, name: str) -> str | None:
        """The value that counts, or None."""
        return next((value for key, value in self.pairs if key == name), None)

    def without(self, *names: str) -> Pairs:
        """All but some parameters."""
        return tuple(pair for pair in self.pairs if pair[0] not in names)

    def with_pair(self, name: str, value: str) -> "RequestParams":
        """The same with one more parameter."""
        return RequestParams(tuple(sorted((*self.pairs, (name, value)), key=lambda pair: pair[0])))


async def read_params(request: Request, max_query_length: int) -> RequestParams:
    """The merged parameters. Raises LimitExceeded for a body that no allowed query could need."""
    url = request.scope["query_string"].decode("latin-1")
    if request.method != "POST" or not request.headers.get("content-type", "").lower().startswith(FORM):
        return merge_params(url)
    # Percent-encoding triples a query.
    limit = 3 * max_query_length + _FRAME
    error = LimitExceeded(f"The body has more than {limit:,} bytes", "MAX_QUERY_LENGTH", f"{max_query_length:,}")
    return merge_params(url, (await read_body(request, limit, error)).decode("latin-1"))


def read_label(request: Request) -> str:
    """The label that a path names, or nothing; bytes that are no UTF-8 stay what they are."""
    name: str = request.path_params.get("name", "")
    if "\ufffd" not in name:
        return name
    # Servers decode paths leniently; the path as it was sent is optional.
    sent = unquote_to_bytes(request.scope.get("raw_path") or b"").decode("utf-8", "surrogateescape")
    _, found, rest = sent.partition("/api/v1/label/")
    return rest.removesuffix("/values") if found else name


def merge_params(url: str, body: str = "") -> RequestParams:
    """The parameters of a query string and a form body, body first."""
    found: dict[str, list[str]] = {}
    for name, value in [*_pairs(body), *_pairs(url)]:
        found.setdefault(name, []).append(value)
    return RequestParams(tuple((name, value) for name in sorted(found) for value in _counting(name, found[name])))


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    if not text:
        return ()
    try:
        # Bytes that are no UTF-8 reach the engine as they came: it has words for them.
        return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise InvalidParameter(f"The request has more than {_MOST_FIELDS} parameters.") from None


def _counting(name: str, values: list[str]) -> Iterable[str]:
    # Of what no engine is known to read once all values go on, as some are lists: file[], extra_filters[].
    if name in READ_ONCE:
        return values[:1]
    return sorted(set(values)) if name.endswith("[]") else values


def parse_range(form: RequestParams) -> TimeRange | None:
    """The range of a range query; None where the engine will refuse it, which it does in its own words."""
    start, end = (parse_time(form.get(name) or "") for name in ("start", "end"))
    step = parse_duration(form.get("step") or "")
    if start is None or end is None or not step or end < start:
        return None
    return TimeRange(start, end, step)
