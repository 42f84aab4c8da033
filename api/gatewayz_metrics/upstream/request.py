"""A request to the upstream as it travels, and its answer as it arrives: bytes stay bytes."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from sys import getsizeof
from urllib.parse import quote, urlencode

import orjson

from gatewayz_metrics.errors import BadAnswer, InvalidParameter, QueryRefused
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.response import parse_refusal

# Names and values in order; a name may come several times.
Pairs = tuple[tuple[str, str], ...]


# Whose data a request may read, in the upstream's own means of isolation.


@dataclass(frozen=True, slots=True)
class Tenant:
    """Headers and parameters that every upstream request of a tenant carries, and the matcher of its selectors."""

    headers: Pairs = ()
    parameters: Pairs = ()
    matcher: str = ""

    @property
    def is_label_restricted(self) -> bool:
        """Whether only a label restricts it, which answers without series do not heed."""
        return bool(self.parameters or self.matcher)


UNRESTRICTED = Tenant()


def tenants_by_token(settings: Settings) -> dict[str, Tenant]:
    """The tenants by the token that their callers show."""
    isolation = settings.engine.isolation
    named = {token: tenant.get_secret_value() for token, tenant in settings.tenants.items()}
    return {
        token: Tenant(isolation.headers(name), isolation.parameters(name), isolation.matcher(name))
        for token, name in named.items()
    }


# Every upstream path there is: no path is ever built from a request's text.

_GO_ESCAPES = {'"': '\\"', "\\": "\\\\", **dict(zip("\a\b\f\n\r\t\v", map("\\{}".format, "abfnrtv"), strict=True))}
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
    def slug(self) -> str:
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
    if len(name) > _LONGEST_LABEL:
        raise InvalidParameter(f"invalid label name: {len(name):,} characters, {_LONGEST_LABEL:,} are allowed")
    if name in ("", ".", "..") or not name.isprintable():
        raise InvalidParameter(f"invalid label name: {_quote_as_go(name[:100])}")
    if "/" in name:
        # Routers decode %2F and see another path, so the name goes in Prometheus' own escaping (UTF-8 names,
        # https://prometheus.io/docs/guides/utf8/#querying).
        return "U__" + "".join(map(_escaped, name))
    return quote(name, safe="")


def _quote_as_go(name: str) -> str:
    """A name as Prometheus' own refusals show it (https://pkg.go.dev/strconv#Quote)."""
    return '"' + "".join(map(_quote_character, name)) + '"'


def _quote_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(character: str) -> str:
    if character == "_":
        return "__"
    return character if _PLAIN_NAME.fullmatch(character) else f"_{ord(character):x}_"


# Bytes of a URL that httpx takes, https://www.python-httpx.org/api/#url.
_LONGEST_URL = 65_536
# Characters of a label's name: no engine documents a limit, and every server has one for URLs.
_LONGEST_LABEL = 1024

_SUCCESS = b'{"status":"success"'
# Bytes at the end of a body that may be white space.
_TAIL = 64


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request: equal calls have equal answers."""

    endpoint: Endpoint
    parameters: Pairs = ()
    label: str = ""
    tenant: Tenant = UNRESTRICTED
    # A range query of few points, which costs about as much as an instant query.
    is_short: bool = field(default=False, compare=False)
    # The query as the caller has it, where it may have been read already.
    text: QueryText | None = field(default=None, compare=False, repr=False)
    # Seconds that are left of a deadline which several requests have together.
    seconds: float | None = field(default=None, compare=False)

    @property
    def query(self) -> QueryText:
        """The expression that it asks for."""
        return self.text or QueryText(self.get("query") or "")

    def get(self, name: str) -> str | None:
        """The first value of a parameter, which is the one that engines read."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def size(self) -> int:
        """The bytes that its texts take in memory, about."""
        return sum(map(getsizeof, (self.label, *chain.from_iterable(self.parameters))))

    def url(self, base: str) -> str:
        """The whole request as a URL. Raises QueryRefused for one that no client can send."""
        form = self.form()
        url = base + self.endpoint.path(self.label) + (f"?{form.decode()}" if form else "")
        if len(url) > _LONGEST_URL:
            # As a refusal, so that the catalogue's batches are halved.
            raise QueryRefused(
                "bad_data", f"it is too long for the URL of a GET request: {len(url):,} of {_LONGEST_URL:,} bytes"
            )
        return url

    def form(self) -> bytes:
        """The parameters as a form; what was no UTF-8 goes out as it came in."""
        pairs = self.parameters + self.tenant.parameters
        return urlencode(pairs, errors="surrogateescape").encode()


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An envelope as the upstream wrote it: a success, a refusal, or (204) nothing."""

    status: int
    body: bytes
    # Whether the upstream lets it be kept.
    cacheable: bool = True
    # How many series it has, where they were counted.
    series: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the upstream answered the question."""
        return self.status < 300


def check_envelope(answer: ApiResponse) -> ApiResponse:
    """The answer, if it is an envelope as far as can be told without decoding it. Raises BadAnswer."""
    body = answer.body
    # Not the whole body: without line ends that would be a copy.
    if answer.status == 204 or (body.startswith(_SUCCESS) and body[-_TAIL:].rstrip().endswith(b"}")):
        return answer
    if answer.status != 200 or parse_refusal(body) or _has_status(body):
        return answer
    raise BadAnswer("no status")


def _has_status(body: bytes) -> bool:
    """Whether it is an envelope that puts its members into another order."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer("invalid JSON") from exc
    return isinstance(document, dict) and document.get("status") == "success"
