"""Every upstream path there is: no path is ever built from a request's text."""

import re
from enum import StrEnum
from urllib.parse import quote

from gatewayz_metrics.errors import InvalidParameter

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_:]+")


class Endpoint(StrEnum):
    """The read-only paths of the Prometheus HTTP API."""

    QUERY = "/api/v1/query"
    QUERY_RANGE = "/api/v1/query_range"
    QUERY_EXEMPLARS = "/api/v1/query_exemplars"
    LABELS = "/api/v1/labels"
    LABEL_VALUES = "/api/v1/label/{name}/values"
    SERIES = "/api/v1/series"
    METADATA = "/api/v1/metadata"
    RULES = "/api/v1/rules"
    ALERTS = "/api/v1/alerts"
    BUILDINFO = "/api/v1/status/buildinfo"
    FORMAT_QUERY = "/api/v1/format_query"
    PARSE_QUERY = "/api/v1/parse_query"

    @property
    def kind(self) -> str:
        """The label that our own metrics carry."""
        return self.name.lower()

    @property
    def takes_post(self) -> bool:
        """Whether engines read a form body here; elsewhere they answer 405."""
        return self in _POST

    @property
    def is_core(self) -> bool:
        """Whether every engine serves it."""
        return self in (Endpoint.QUERY, Endpoint.QUERY_RANGE)

    def path(self, label: str = "") -> str:
        """The path, with a label's name where it has one."""
        return self.replace("{name}", _segment(label)) if self is Endpoint.LABEL_VALUES else self.value


_POST = frozenset(
    [
        Endpoint.QUERY,
        Endpoint.QUERY_RANGE,
        Endpoint.QUERY_EXEMPLARS,
        Endpoint.LABELS,
        Endpoint.SERIES,
        Endpoint.FORMAT_QUERY,
        Endpoint.PARSE_QUERY,
    ]
)


def _segment(name: str) -> str:
    """A label's name as one path segment. Raises InvalidParameter for what no engine takes as a name."""
    if name in ("", ".", "..") or not name.isprintable():
        raise InvalidParameter(f"invalid label name: {name[:100]!a}")
    if "/" in name:
        # Routers decode %2F and see another path, so the name goes in Prometheus' own escaping (UTF-8 names,
        # https://prometheus.io/docs/guides/utf8/#querying).
        return "U__" + "".join(map(_escaped, name))
    return quote(name, safe="")


def _escaped(character: str) -> str:
    if character == "_":
        return "__"
    return character if _PLAIN_NAME.fullmatch(character) else f"_{ord(character):x}_"
