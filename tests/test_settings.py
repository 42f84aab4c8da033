"""Every knob: read from where it should be, refused with a sentence, silent about secrets."""

import inspect
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.promql.matchers import normalize_matchers
from gatewayz_metrics.settings import has_aiohttp, read_settings
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

pytestmark = pytest.mark.usefixtures("shipped_limits")

SECRET = "s3cret"


def plain(found: Settings) -> dict[str, Any]:
    """The settings with their secrets laid open."""

    def open_up(value: Any) -> Any:
        match value:
            case dict():
                return {name: open_up(one) for name, one in value.items()}
            case tuple():
                return tuple(open_up(one) for one in value)
        return value.get_secret_value() if hasattr(value, "get_secret_value") else value

    return {name: open_up(getattr(found, name)) for name in Settings.model_fields}


# --------------------------------------------------------------------------- reading


def test_the_defaults_work_on_their_own() -> None:
    assert plain(read_settings()) == {
        "api_tokens": (),
        "prometheus_url": "http://prometheus:9090",
        "prometheus_username": "",
        "prometheus_password": "",
        "prometheus_bearer_token": "",
        "prometheus_bearer_token_file": None,
        "prometheus_headers": {},
        "prometheus_ca_file": None,
        "prometheus_engine": "prometheus",
        "prometheus_gzip": False,
        "prometheus_connect_timeout": 3.0,
        "prometheus_timeout": 8.0,
        "prometheus_range_timeout": 60.0,
        "upstream_client": "auto",
        "prometheus_connections": 20,
        "max_response_bytes": 32 * 2**20,
        "max_memory_bytes": 512 * 2**20,
        "selector": "",
        "catalogue": None,
        "cache_ttl": 5.0,
        "cache_stale": 5.0,
        "cache_range": True,
        "cache_range_bytes": 128 * 2**20,
        "cache_range_ttl": 3600.0,
        "cache_freshness": 300.0,
        "instant_granularity": 0.0,
        "cache_alerts": False,
        "max_query_length": 65_536,
        "max_range": 0.0,
        "max_points": 11_000,
        "max_series": 0,
        "max_concurrent_queries": 20,
        "tenants": {},
        "allow_promql": True,
        "scrape_interval": 15.0,
        "max_targets": 50,
        "max_body_bytes": 2**20,
        "cors_origins": (),
        "host": "127.0.0.1",
        "port": 8000,
        "workers": 1,
        "max_connections": 2048,
        "max_requests_per_address": 256,
        "idle_timeout": 65.0,
        "body_timeout": 20.0,
        "write_timeout": 20.0,
        "shutdown_timeout": 20.0,
        "api_tokens_file": None,
        "tenants_file": None,
        "prometheus_cert_file": None,
        "prometheus_key_file": None,
        "prometheus_connection_age": 300.0,
        "log_format": "text",
        "log_level": "info",
    }


def test_the_environment_wins_over_the_file_and_an_argument_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PROMETHEUS_URL=http://file:1\nSELECTOR='env=\"file\"'\nCACHE_TTL=9\nOTHERS=x\n")
    monkeypatch.setenv("PROMETHEUS_URL", "http://environment:2")
    monkeypatch.setenv("CACHE_TTL", "7")
    found = read_settings(cache_ttl=1)

    assert (found.prometheus_url, found.cache_ttl, found.selector) == ("http://environment:2", 1, 'env="file"')


def test_an_argument_that_is_none_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", "http://environment:2")

    assert read_settings(prometheus_url=None).prometheus_url == "http://environment:2"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_as_good_as_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.upper(), "")

    assert read_settings() == Settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    assert str(Settings.model_fields[name].description).endswith(".")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("a b", ("a b",))],
)
def test_tokens_are_a_comma_list(text: str, tokens: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKENS", text)

    assert plain(read_settings())["api_tokens"] == tokens


def test_headers_are_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_HEADERS", '{"X-Scope-OrgID": "team a", "X-Other": "1"}')

    assert plain(read_settings())["prometheus_headers"] == {"X-Scope-OrgID": "team a", "X-Other": "1"}


# --------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("given_url", "url", "user", "password"),
    [
        ("http://h:9090", "http://h:9090", "", ""),
        ("http://h:9090/prefix/", "http://h:9090/prefix", "", ""),
        (" https://h ", "https://h", "", ""),
        ("http://ann:s3cret@h:9090/prefix", "http://h:9090/prefix", "ann", "s3cret"),
        ("http://ann@h", "http://h", "ann", ""),
        ("http://:s3cret@h", "http://h", "", "s3cret"),
        ("http://a%40b:p%2Fq%3Ar%25@h", "http://h", "a@b", "p/q:r%"),
        ("http://ann:p@ss@h", "http://h", "ann", "p@ss"),
        ("http://ann:a:b@[::1]:9090", "http://[::1]:9090", "ann", "a:b"),
    ],
)
def test_credentials_leave_the_url(given_url: str, url: str, user: str, password: str) -> None:
    found = plain(Settings(prometheus_url=given_url))

    assert (found["prometheus_url"], found["prometheus_username"], found["prometheus_password"]) == (
        url,
        user,
        password,
    )


def test_a_user_of_its_own_wins_over_the_urls() -> None:
    found = plain(Settings(prometheus_url="http://a:b@h", prometheus_username="c", prometheus_password=SECRET))

    assert (found["prometheus_username"], found["prometheus_password"]) == ("c", SECRET)


def test_no_secret_is_shown() -> None:
    found = Settings(
        prometheus_url=f"http://{SECRET}-user:{SECRET}@h",
        prometheus_headers={"X": SECRET},
        api_tokens=(SECRET,),
    )
    shown = (repr(found), str(found), repr(Settings(prometheus_bearer_token=SECRET)), found.model_dump_json())

    assert [text for text in shown[:3] if SECRET in text] == []
    assert shown[3].count(SECRET) == 1  # the user, which is no secret where everything is asked for


# --------------------------------------------------------------------------- refusals

BAD: dict[str, tuple[str, str]] = {
    "no scheme": ("PROMETHEUS_URL", f"user:{SECRET}@host:9090"),
    "another scheme": ("PROMETHEUS_URL", f"ftp://user:{SECRET}@host"),
    "no host": ("PROMETHEUS_URL", f"http://user:{SECRET}@"),
    "no port": ("PROMETHEUS_URL", f"http://user:{SECRET}@host:port"),
    "a large port": ("PROMETHEUS_URL", f"http://user:{SECRET}@host:99999"),
    "a broken address": ("PROMETHEUS_URL", f"http://user:{SECRET}@[::1"),
    "a query": ("PROMETHEUS_URL", f"http://user:{SECRET}@host/?x={SECRET}"),
    "a fragment": ("PROMETHEUS_URL", f"http://user:{SECRET}@host/#{SECRET}"),
    "a line end": ("PROMETHEUS_URL", f"http://user:{SECRET}@host/\nx"),
    "a slash in the password": ("PROMETHEUS_URL", f"http://user:12/{SECRET}@host"),
    "an unescaped password": ("PROMETHEUS_URL", f"http://user:{SECRET}/@host"),
    "no JSON": ("PROMETHEUS_HEADERS", f'{{"X": "{SECRET}"'),
    "a list": ("PROMETHEUS_HEADERS", f'["{SECRET}"]'),
    "a number": ("PROMETHEUS_HEADERS", '{"X": 1}'),
    "an object": ("PROMETHEUS_HEADERS", f'{{"X": {{"y": "{SECRET}"}}}}'),
    "CRLF in a value": ("PROMETHEUS_HEADERS", f'{{"X": "{SECRET}\\r\\nY: z"}}'),
    "CRLF in a name": ("PROMETHEUS_HEADERS", f'{{"X: {SECRET}\\r\\nY": "z"}}'),
    "a colon in a name": ("PROMETHEUS_HEADERS", f'{{"X: {SECRET}": ""}}'),
    "an empty name": ("PROMETHEUS_HEADERS", f'{{"": "{SECRET}"}}'),
    "an empty value": ("PROMETHEUS_HEADERS", '{"X": ""}'),
    "space around a value": ("PROMETHEUS_HEADERS", f'{{"X": " {SECRET}"}}'),
    "no ASCII": ("PROMETHEUS_HEADERS", f'{{"X": "{SECRET}\u00e9"}}'),
    "a surrogate": ("PROMETHEUS_HEADERS", f'{{"X": "{SECRET}\\ud800"}}'),
    "CRLF in a token": ("PROMETHEUS_BEARER_TOKEN", f"{SECRET}\r\nX: y"),
    "a token beyond ASCII": ("PROMETHEUS_BEARER_TOKEN", f"{SECRET}\u00e9"),
    "commas alone": ("API_TOKENS", " , ,"),
    "no number": ("PROMETHEUS_TIMEOUT", "soon"),
    "no time": ("PROMETHEUS_TIMEOUT", "0"),
    "not a number": ("PROMETHEUS_TIMEOUT", "nan"),
    "too long": ("PROMETHEUS_TIMEOUT", "1e9"),
    "negative": ("CACHE_TTL", "-1"),
    "no connection": ("PROMETHEUS_CONNECTIONS", "0"),
    "no room": ("MAX_RESPONSE_BYTES", "1"),
    "no such port": ("PORT", "65536"),
    "no yes": ("PROMETHEUS_GZIP", "perhaps"),
    "no matchers": ("SELECTOR", "production"),
    "no certificates": ("PROMETHEUS_CA_FILE", "/nowhere/ca.pem"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_value_that_cannot_be_used_is_one_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = BAD[case]
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    sentence = caught.value.sentence

    assert sentence.startswith(f"{name} cannot be used: ")
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert "\n" not in sentence
    assert SECRET not in sentence
    assert caught.value.__suppress_context__


@pytest.fixture
def installed_aiohttp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    """A version of aiohttp, or none, whatever is really there."""

    def find(name: str) -> str:
        if request.param is None:
            raise PackageNotFoundError(name)
        return str(request.param)

    monkeypatch.setattr("gatewayz_metrics.settings.version", find)
    has_aiohttp.cache_clear()
    yield request.param
    has_aiohttp.cache_clear()


@pytest.mark.parametrize("installed_aiohttp", [None, "3.8.6", "3.9.0b0"], indirect=True)
@pytest.mark.usefixtures("installed_aiohttp")
def test_a_library_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().http_library == "httpx"

    monkeypatch.setenv("UPSTREAM_CLIENT", "aiohttp")
    with pytest.raises(ConfigurationError) as caught:
        read_settings()

    assert caught.value.sentence == (
        "UPSTREAM_CLIENT cannot be used: aiohttp 3.13 or newer is not installed; "
        "type pip install 'gatewayz-metrics[server]', or choose httpx."
    )


@pytest.mark.parametrize("installed_aiohttp", ["3.13.0", "3.14.5", "4.0.0a1"], indirect=True)
@pytest.mark.usefixtures("installed_aiohttp")
def test_the_faster_library_is_chosen_where_it_is_installed() -> None:
    chosen = [Settings(upstream_client=name).http_library for name in ("auto", "aiohttp", "httpx")]

    assert chosen == ["aiohttp", "aiohttp", "httpx"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "PROMETHEUS_HEADERS",
            'PROMETHEUS_HEADERS cannot be used: it must be a JSON object such as {"X-Scope-OrgID": "team-a"}.',
        ),
        (
            "TENANTS",
            'TENANTS cannot be used: it must be a JSON object of tokens and tenants such as {"token": "team-a"}.',
        ),
    ],
)
def test_text_that_is_no_json_is_told_what_is_expected(
    name: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{{{SECRET}")

    with pytest.raises(ConfigurationError) as caught:
        read_settings()

    assert caught.value.sentence == sentence


@pytest.mark.parametrize("case", BAD)
def test_a_refusal_by_the_model_itself_shows_no_input(case: str) -> None:
    name, value = BAD[case]
    given_values: dict[str, Any] = {name.lower(): value}
    with pytest.raises(ValidationError) as caught:
        Settings(**given_values)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"prometheus_url": f"http://a:{SECRET}@h", "prometheus_bearer_token": SECRET},
        {"prometheus_username": "a", "prometheus_bearer_token_file": "/run/token"},
        {"prometheus_bearer_token": SECRET, "prometheus_bearer_token_file": "/run/token"},
    ],
    ids=["user and token", "user and file", "token and file"],
)
def test_two_credentials_contradict_each_other(values: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(**values)

    assert "choose one of" in caught.value.sentence
    assert SECRET not in caught.value.sentence


@pytest.mark.parametrize("token", ["", " "])
def test_an_empty_token_opens_nothing(token: str) -> None:
    with pytest.raises(ConfigurationError, match="API_TOKENS cannot be used: a token is empty"):
        read_settings(api_tokens=("good", token))


@pytest.mark.parametrize("content", [b"API_TOKENS=\xff\xfe\n", None], ids=["no UTF-8", "no permission"])
def test_a_file_that_cannot_be_read_is_one_sentence(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(content or b"API_TOKENS=a\n")
    if content is None:
        # A superuser may read everything, so the refusal itself is what is put in place.
        monkeypatch.setattr("dotenv.main.DotEnv.dict", refuse)
    with pytest.raises(ConfigurationError, match=r"^The file \.env cannot be read \(\w+\)\.$"):
        read_settings()


def refuse(_: object) -> None:
    raise PermissionError


# --------------------------------------------------------------------------- the selector


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("", ""),
        ("{}", ""),
        ('env="production"', 'env="production"'),
        ('{ env = "prod", }', 'env="prod"'),
        (' env=~"a|b" , job!="x",region!~\'y\'', 'env=~"a|b",job!="x",region!~\'y\''),
        ('env="a} or up{"', 'env="a} or up{"'),
        (r'env="a\"} or up{b=\""', r'env="a\"} or up{b=\""'),
        ("path=`C:\\dir`", "path=`C:\\dir`"),
        ('env="$window"', 'env="$window"'),
        ('"quoted.name"="a"', '"quoted.name"="a"'),
    ],
)
def test_a_selector_is_tidied(text: str, tidy: str) -> None:
    assert Settings(selector=text).selector == tidy


@pytest.mark.parametrize(
    "text",
    [
        'env="a"} or up{',
        'env="a"}[5m]',
        'env="a",up{',
        'env="a" job="b"',
        'env="a",,job="b"',
        ',env="a"',
        'env="a',
        "env=a",
        'env=="a"',
        '1env="a"',
        'env="a"#',
        'env="a\n"',
        '__name__="up"} or {x="',
        '{{env="a"}}',
        r'env="\",job="} or up{x="',
    ],
)
def test_a_selector_never_closes_its_braces(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SELECTOR cannot be used: "):
        read_settings(selector=text)


EXPRESSIONS = [statistic.expr for statistic in load().statistics]
pieces = st.sampled_from(
    [
        "env",
        "job",
        "=",
        "!=",
        "=~",
        "!~",
        '"',
        "'",
        "`",
        "\\",
        "{",
        "}",
        ",",
        " ",
        "a",
        "(",
        ")",
        "[5m]",
        "#",
        "$",
        "\n",
        "or",
        "\\n",
        "\\x",
    ]
)
near_selectors = st.lists(pieces, max_size=12).map("".join)
likely_selectors = st.lists(
    st.tuples(
        st.sampled_from(["env", "job", "_x"]),
        st.sampled_from(["=", "!=", "=~", "!~"]),
        st.sampled_from(["'", '"', "`"]),
        st.lists(pieces, max_size=6).map("".join),
    ).map(lambda m: f"{m[0]}{m[1]}{m[2]}{m[3]}{m[2]}"),
    max_size=3,
).map(",".join)


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(near_selectors | likely_selectors | st.text(max_size=20))
@example(r"""env="\",job="} or up{x='",z=`'}) #`""")
@example(r"""env='\',job='} or up{x="',z=`"}) #`""")
def test_an_accepted_selector_stays_inside_its_braces(text: str) -> None:
    accepted = selector_of(text)
    assume(accepted is not None)

    for expression in EXPRESSIONS[:3]:
        with_it, without = (Slots(selector or "").fill(expression) for selector in (accepted, ""))
        # What an engine refuses (an unknown escape, a broken pattern) is lost as a whole; nothing may be gained.
        if (tree := parsed(with_it)) is not None:
            assert shape(tree) == shape(parsed(without))


def selector_of(text: str) -> str | None:
    try:
        return normalize_matchers(text)
    except ValueError:
        return None


def parsed(promql: str) -> object | None:
    try:
        return promql_parser.parse(promql)
    except ValueError:
        return None


def shape(node: object) -> object:
    """An expression with its matchers left out."""
    attributes: dict[str, Callable[[], object]] = {
        name: getattr(node, name)
        for name in ("lhs", "rhs", "expr", "vector_selector", "args", "param", "name")
        if hasattr(node, name) and not inspect.ismethod(getattr(node, name))
    }
    children = {
        name: [shape(one) for one in value]
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else shape(value)
        for name, value in attributes.items()
    }
    return type(node).__name__, children
