"""Every knob of the service, as one frozen object that is passed in."""

import json
import re
import ssl
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gatewayz_metrics.engines import ENGINES, HEADER_VALUE, UpstreamEngine, describe_tenants, list_engines
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.promql.matchers import normalize_matchers
from gatewayz_metrics.validation import first_problem

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What tells where a message ends: with a wrong one no request is whole.
_FRAMING = frozenset(["connection", "content-length", "te", "trailer", "transfer-encoding", "upgrade"])
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


# The lowest that works, as in pyproject.toml: another package may have brought an older one.
_OLDEST_AIOHTTP = (3, 13)


@cache
def has_aiohttp() -> bool:
    """Whether aiohttp is installed, and new enough; it is not imported for that."""
    try:
        release = version("aiohttp").split(".")
    except PackageNotFoundError:
        return False
    return tuple(int(part) for part in release[:2] if part.isdigit()) >= _OLDEST_AIOHTTP


def _words(value: object) -> object:
    """`a, b` from the environment as a list; commas with nothing between them are no list."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    if value and not words:
        raise ValueError("it names nothing; leave it out if that is meant.")
    return words


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON whose names differ; else the last of two tenants would win silently."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("it names something twice.")
    return dict(pairs)


def _parse_object(text: str, expected: str) -> object:
    """JSON text as an object. Raises ValueError without the text, as it holds secrets."""
    try:
        return json.loads(text or "{}", object_pairs_hook=_without_repetition)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"it must be {expected}.") from None


def _json_object(expected: str) -> BeforeValidator:
    """JSON text from the environment as an object; what is no text is taken as it is."""
    return BeforeValidator(lambda value: _parse_object(value, expected) if isinstance(value, str) else value)


def parse_tenants(text: str) -> object:
    """The JSON of TENANTS, which is an object if it is right. Raises ValueError without the text."""
    return _parse_object(text, _TENANTS_FORM)


_TENANTS_FORM = 'a JSON object of tokens and tenants such as {"token": "team-a"}'
_HEADERS = _json_object('a JSON object such as {"X-Scope-OrgID": "team-a"}')
_TENANTS = _json_object(_TENANTS_FORM)


class Settings(BaseSettings):
    """Every knob of the service, read from the environment and from `.env`."""

    # Input is hidden from error messages: it may be a secret.
    model_config = SettingsConfigDict(
        frozen=True, env_file=".env", extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    api_tokens: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description="Bearer tokens that callers must show, comma-separated; empty leaves the service open."
    )
    prometheus_url: str = Field(
        default="http://prometheus:9090",
        description="The upstream: any Prometheus-compatible server. May carry a path and credentials.",
    )
    # Some services take a token as the user, so it is not shown either.
    prometheus_username: str = Field(
        default="", repr=False, description="Basic authentication for the upstream; wins over the URL's."
    )
    prometheus_password: SecretStr = Field(default=SecretStr(""), description="Password to that user.")
    prometheus_bearer_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for the upstream.")
    prometheus_bearer_token_file: Path | None = Field(
        default=None, description="File with that token, read again when its content changes."
    )
    prometheus_headers: Annotated[dict[str, SecretStr], NoDecode, _HEADERS] = Field(
        default={}, description='Further headers for the upstream, a JSON object such as `{"X-Scope-OrgID": "team-a"}`.'
    )
    prometheus_ca_file: Path | None = Field(
        default=None, description="CA certificates (PEM) that the upstream's is checked by."
    )
    prometheus_engine: str = Field(
        default="prometheus", description=f"What the upstream is: {list_engines(quote='`')}."
    )
    prometheus_gzip: bool = Field(
        default=False, description="Ask the upstream for gzip: worth it over a network, a loss on the same host."
    )
    # The system sends the first packet again after one second (RFC 6298, 2.1), so fewer would lose with it.
    prometheus_connect_timeout: float = Field(
        default=3.0, gt=0, le=60, description="Seconds to connect to the upstream; one packet lost costs one of them."
    )
    prometheus_timeout: float = Field(default=8.0, gt=0, le=300, description="Seconds for a whole upstream answer.")
    prometheus_range_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Seconds for the answer to a range query, waiting included; a request's own `timeout` may be less.",
    )
    prometheus_connections: int = Field(default=20, ge=1, le=1000, description="Connections to the upstream at most.")
    upstream_client: Literal["auto", "httpx", "aiohttp"] = Field(
        default="auto",
        description="The HTTP library that asks the upstream: `httpx`, or `aiohttp`, with which a query that no cache "
        "answers takes a third of the CPU time. `auto` is aiohttp where it is installed, and httpx in your own "
        "application.",
    )
    max_response_bytes: int = Field(
        default=32 * 2**20, ge=1024, description="Bytes of one upstream answer, unpacked, at most."
    )
    selector: str = Field(
        default="", description='Label matchers put into every catalogue selector, such as `env="production"`.'
    )
    catalogue: Path | None = Field(default=None, description="A catalogue file in place of the built-in one.")
    cache_ttl: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Seconds for which the metrics routes reuse an answer; 0 turns off every cache of whole answers, "
        "of lists (labels, values, rules) and settled instant queries too. Range queries have CACHE_RANGE.",
    )
    cache_stale: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Seconds after CACHE_TTL, at most as many again, for which the summary and the text pages give the "
        "old answer at once while one new one is read; 0 lets the first to ask wait for it, and all others with it.",
    )
    cache_range: bool = Field(
        default=True, description="Keep the points of range queries and ask only for what is missing: `on` or `off`."
    )
    cache_range_bytes: int = Field(
        default=128 * 2**20,
        ge=2**16,
        description="Bytes of range points kept at most; what was used longest ago goes first.",
    )
    cache_range_ttl: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds for which a point is believed; how late deletions and back-fills are seen.",
    )
    cache_freshness: float = Field(
        default=300.0,
        ge=0,
        description="Seconds during which points may still change: newer ones are always asked for again.",
    )
    instant_granularity: float = Field(
        default=0.0,
        ge=0,
        le=300,
        description="Seconds: an instant query younger than CACHE_FRESHNESS is asked at the last multiple of this, and "
        "everybody shares the answer for as long. It is that much older, and says so by its time. Rules and "
        "`nocache=1` keep their own times; 0 keeps all.",
    )
    cache_alerts: bool = Field(
        default=False, description="Answer alert rules (requests with `FromAlert: true`) from the caches too."
    )
    max_query_length: int = Field(
        default=65_536,
        ge=1,
        description="Characters of one PromQL expression at most, with the ad-hoc filters in every selector; all "
        "queries of one panel have four times as many.",
    )
    max_range: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between start and end at most, of lists of labels and series too, and how far back the "
        "ranges, subqueries and offsets of a query reach; 0 sets no limit.",
    )
    max_points: int = Field(default=11_000, ge=1, description="Points per series at most, as Prometheus counts them.")
    max_series: int = Field(default=0, ge=0, description="Series of one answer at most; 0 sets no limit.")
    max_concurrent_queries: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Requests of the Prometheus API under way at the upstream at most; others wait.",
    )
    tenants: Annotated[dict[str, SecretStr], NoDecode, _TENANTS] = Field(
        default={},
        repr=False,
        description=f"Tokens for the data of one tenant alone, a JSON object: {describe_tenants()}.",
    )
    allow_promql: bool = Field(
        default=True,
        description="Whether callers may write PromQL. `false` leaves panels the catalogue, label names and values; "
        "refused are PromQL in panels and variables, selectors in `label_values`, and of the Prometheus API "
        "query, query_range, query_exemplars, series, format_query, parse_query and every `match[]`.",
    )
    scrape_interval: float = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="Seconds between two scrapes: no step is finer, `$__rate_interval` has four.",
    )
    max_targets: int = Field(default=50, ge=1, le=1000, description="Queries in one panel's request at most.")
    max_body_bytes: int = Field(default=2**20, ge=1024, description="Bytes of one panel's request at most.")
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        description="Origins whose pages may ask from the browser, comma-separated and exact, such as "
        "`https://grafana.example.com`; empty turns it off (stand-alone).",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on (stand-alone).")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on (stand-alone).")
    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that `serve` runs on the port, for more processor cores than one; the limits of "
        "connections, places, requests per address and memory are divided among them (stand-alone).",
    )
    max_connections: int = Field(
        default=2048, ge=1, le=100_000, description="Connections of clients at most; others wait (stand-alone)."
    )
    max_requests_per_address: int = Field(
        default=256,
        ge=0,
        description="Requests of one client address under way at most; others get 503. A proxy is one address. "
        "0 sets no limit (stand-alone).",
    )
    idle_timeout: float = Field(
        default=65.0,
        gt=0,
        le=3600,
        description="Seconds until a connection without a whole request head is closed; above the idle time of a "
        "proxy in front (stand-alone).",
    )
    body_timeout: float = Field(
        default=20.0, gt=0, le=3600, description="Seconds for the whole body of a request (stand-alone)."
    )
    write_timeout: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        description="Seconds for 128 KB of an answer to be taken by the client, which is hung up on after "
        "that (stand-alone).",
    )
    shutdown_timeout: float = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds that requests have to finish after SIGTERM (stand-alone).",
    )
    api_tokens_file: Path | None = Field(
        default=None,
        description="File with further API_TOKENS, one a line. Files are read again when their content changes and at "
        "SIGHUP (stand-alone); what cannot be used leaves the old content in use.",
    )
    tenants_file: Path | None = Field(default=None, description="File with further TENANTS, as JSON; read again, too.")
    prometheus_cert_file: Path | None = Field(
        default=None, description="Client certificate (PEM) to show to the upstream; read again, as the CA is."
    )
    prometheus_key_file: Path | None = Field(
        default=None, description="Its private key, where the certificate's file does not hold it."
    )
    prometheus_connection_age: float = Field(
        default=300.0,
        gt=0,
        le=86400,
        description="Seconds after which a connection to the upstream takes no more requests, so that a name that "
        "moved is followed.",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Log lines as `text` or `json`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`: what is less important is not logged."
    )

    max_memory_bytes: int = Field(
        default=512 * 2**20,
        ge=2**20,
        description="Bytes that all answers under way take at most, from the upstream to the client: arriving, being "
        "decoded and written, and waiting for slow readers. Who does not fit gets 503. What caches keep comes on top.",
    )

    @field_validator("api_tokens")
    @classmethod
    def _are_tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # An empty token would be matched by an empty header.
        if not all(token.get_secret_value().strip() for token in tokens):
            raise ValueError("a token is empty.")
        return tokens

    @field_validator("prometheus_url")
    @classmethod
    def _is_usable(cls, url: str) -> str:
        try:
            parts = urlsplit(url.strip())
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if "://" in url and "@" in url:
            raise ValueError("its user or password holds a character that must be percent-encoded, such as / as %2F.")
        if not usable or parts.query or parts.fragment or any(c.isspace() for c in url.strip()):
            raise ValueError("it must be a URL such as http://prometheus:9090 or https://host/prefix, without a query.")
        return url.strip().rstrip("/")

    @field_validator("prometheus_engine")
    @classmethod
    def _is_known(cls, engine: str) -> str:
        if engine not in ENGINES:
            raise ValueError(f"it must be {list_engines()}.")
        return engine

    @field_validator("prometheus_headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                # Not quoted: somebody may have written "Name: secret" as the name.
                raise ValueError("a header has a name that HTTP does not allow.")
            if name.lower() in _FRAMING:
                raise ValueError(f"the header {name!r} belongs to each request; leave it out.")
            if not HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the header {name!r} has a value that HTTP does not allow.")
        return headers

    @field_validator("prometheus_bearer_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        if text and not HEADER_VALUE.fullmatch(text):
            raise ValueError("it holds characters that an HTTP header cannot carry.")
        return token

    @field_validator("prometheus_ca_file")
    @classmethod
    def _holds_certificates(cls, file: Path | None) -> Path | None:
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as exc:
            raise ValueError(f"{file} holds no certificates that can be read ({exc}).") from None
        return file

    @field_validator("upstream_client")
    @classmethod
    def _is_installed(cls, name: str) -> str:
        if name == "aiohttp" and not has_aiohttp():
            raise ValueError(
                f"aiohttp {'.'.join(map(str, _OLDEST_AIOHTTP))} or newer is not installed; "
                "type pip install 'gatewayz-metrics[server]', or choose httpx."
            )
        return name

    @field_validator("log_format", "log_level", "upstream_client", mode="before")
    @classmethod
    def _in_lower_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write scheme, host and port, such as https://host:3000.")
        return origins

    @field_validator("selector")
    @classmethod
    def _is_matchers(cls, selector: str) -> str:
        return normalize_matchers(selector)

    @field_validator("tenants")
    @classmethod
    def _are_tokens_of_tenants(cls, tenants: dict[str, SecretStr]) -> dict[str, SecretStr]:
        # Nothing is quoted: the keys are secrets.
        if not all(token.strip() for token in tenants):
            raise ValueError("a token is empty.")
        return tenants

    @model_validator(mode="before")
    @classmethod
    def _credentials_leave_the_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Move `user:password@` into their own fields, so that no log or error can show them."""
        scheme, separator, rest = str(values.get("prometheus_url", "")).partition("://")
        authority, slash, path = rest.partition("/")
        userinfo, at, address = authority.rpartition("@")
        if not at:
            return values
        user, _, password = userinfo.partition(":")
        found = {"prometheus_username": unquote(user), "prometheus_password": unquote(password)}
        return found | values | {"prometheus_url": f"{scheme}{separator}{address}{slash}{path}"}

    @model_validator(mode="after")
    def _has_one_credential(self) -> Self:
        ways = (
            self.prometheus_username,
            self.prometheus_bearer_token.get_secret_value(),
            self.prometheus_bearer_token_file,
        )
        if sum(map(bool, ways)) > 1:
            raise ValueError(
                "choose one of user and password, PROMETHEUS_BEARER_TOKEN and PROMETHEUS_BEARER_TOKEN_FILE."
            )
        return self

    @model_validator(mode="after")
    def _has_a_certificate_for_the_key(self) -> Self:
        if self.prometheus_key_file is not None and self.prometheus_cert_file is None:
            raise ValueError("PROMETHEUS_KEY_FILE needs PROMETHEUS_CERT_FILE as well.")
        return self

    @model_validator(mode="after")
    def _keeps_tenants_apart(self) -> Self:
        if not self.tenants:
            return self
        if not self.api_tokens and self.api_tokens_file is None:
            raise ValueError("TENANTS needs API_TOKENS as well, or the metrics routes would be open to everyone.")
        if self.tenants.keys() & {token.get_secret_value() for token in self.api_tokens}:
            raise ValueError("a token stands in both API_TOKENS and TENANTS; it can have one meaning only.")
        for tenant in self.tenants.values():
            try:
                self.engine.isolation.check(tenant.get_secret_value())
            except ValueError as exc:
                raise ValueError(f"on {self.engine.title} {exc}") from None
        return self

    @property
    def engine(self) -> UpstreamEngine:
        """What is different about the upstream."""
        return ENGINES[self.prometheus_engine]

    @property
    def http_library(self) -> Literal["httpx", "aiohttp"]:
        """The library that asks the upstream, where `auto` chooses."""
        if self.upstream_client == "auto":
            return "aiohttp" if has_aiohttp() else "httpx"
        return self.upstream_client


def read_settings(**overrides: Any) -> Settings:
    """The settings of a process of our own; arguments win over the environment.

    Raises ConfigurationError with one sentence that names the setting.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as exc:
        problem = first_problem(exc.errors(include_url=False, include_input=False))
        setting = str(problem.place[0]).upper() if problem.place else "The settings"
        raise ConfigurationError(f"{setting} cannot be used: {problem.clause}.") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable_file(exc) from None


def unreadable_file(exc: Exception) -> ConfigurationError:
    """What is said of a `.env` that cannot be read; nothing of it is quoted."""
    return ConfigurationError(f"The file .env cannot be read ({type(exc).__name__}).")
