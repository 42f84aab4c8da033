"""What real engines make of the same text."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gatewayz_metrics.promql.macros import MacroContext, expand_macros
from gatewayz_metrics.promql.matchers import Filter, format_filters, normalize_matchers, parse_matchers, quote, unquote
from gatewayz_metrics.promql.parser import parse
from gatewayz_metrics.promql.rewrite import inject_matchers, repair_escapes
from gatewayz_metrics.promql.times import TimeRange
from hypothesis import given
from hypothesis import strategies as st

from tests.promql import oracle
from tests.promql.grammar import MATCHER_LISTS, QUERIES, TEXTS, damaged, examples
from tests.support import samples
from tests.support.engine import Engine

ENV = 'env="production"'
ADDED = ("env", "Equal", "production")
NAMES = {"=": "Equal", "!=": "NotEqual", "=~": "Re", "!~": "NotRe"}
TIMES = range(samples.START + 600, samples.END + 1, 1000)
SPAN = MacroContext(TimeRange(samples.START * 1000, samples.END * 1000, 15_000))


class Asked:
    """An engine asked over one connection."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def accepts(self, promql: str) -> bool:
        """Whether it parses; a query that fails in execution has parsed."""
        answer = self.client.post("/api/v1/query", data={"query": promql, "time": "0"})
        assert answer.status_code in (200, 400, 422), answer.text
        return answer.status_code != 400

    def formatted(self, promql: str) -> str:
        """The query as the engine itself writes it."""
        answer = self.client.post("/api/v1/format_query", data={"query": promql})
        answer.raise_for_status()
        text: str = answer.json()["data"]
        return text

    def ask(self, promql: str, time: float = samples.END) -> Any:
        """The result of a query."""
        answer = self.client.post("/api/v1/query", data={"query": promql, "time": str(time)})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]


@pytest.fixture(scope="module")
def asked(prometheus: Engine) -> Iterator[Asked]:
    """A real Prometheus, asked quickly."""
    with httpx.Client(base_url=prometheus.url) as client:
        yield Asked(client)


@examples(50)
@given(QUERIES)
def test_what_the_grammar_makes_is_valid_before_and_after(asked: Asked, query: str) -> None:
    assert asked.accepts(query)
    assert asked.accepts(inject_matchers(query, ENV))


@examples(100)
@given(damaged())
def test_what_the_engine_accepts_is_read_without_fault(asked: Asked, query: str) -> None:
    if asked.accepts(query):
        syntax = parse(query)
        assert syntax.fault is None or "carriage return" in syntax.fault


@examples(100)
@given(damaged())
def test_whatever_is_injected_and_runs_is_filtered_everywhere(asked: Asked, query: str) -> None:
    try:
        text = inject_matchers(query, ENV)
    except ValueError:
        return
    if asked.accepts(text):
        assert all(ADDED in matchers for _, matchers in oracle.selectors(asked.formatted(text)))


@examples(60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_comes_back_from_a_string_and_from_a_matcher(asked: Asked, value: str) -> None:
    assert asked.ask(quote(value))[1] == value

    (absent,) = asked.ask(f"absent({inject_matchers('nosuch', f'a={quote(value)}')})")
    assert absent["metric"] == ({"a": value} if value else {})


@examples(150)
@given(TEXTS | MATCHER_LISTS)
def test_what_is_taken_for_matchers_is_read_by_the_engine_in_the_same_way(asked: Asked, text: str) -> None:
    try:
        query = f"up{{{normalize_matchers(text)}}}"
    except ValueError:
        return
    # Quoted labels are Prometheus 3's, and a broken pattern is nobody's.
    if asked.accepts(query):
        expected = [(one.label, NAMES[one.operator], one.value) for one in parse_matchers(text)]
        ((name, found),) = oracle.selectors(asked.formatted(query))
        # The engine sorts them.
        assert (name, sorted(found)) == ("up", sorted(expected))


@pytest.mark.parametrize("literal", [r"""'\a\b\f\n\r\t\v\\\'"'""", r'"\"\101\x41\u00e9\U0001f600\303\xbc"', r"`a\n`"])
def test_the_engine_reads_a_string_as_we_do(asked: Asked, literal: str) -> None:
    assert asked.ask(literal)[1] == unquote(literal)


@pytest.mark.parametrize("literal", [r'"\d"', r'"\x4"', r'"\18"', r'"\400"', r'"\ud800"', r'"\U00110000"', '"\\\'"'])
def test_the_engine_refuses_the_escapes_that_we_refuse(asked: Asked, literal: str) -> None:
    assert not asked.accepts(literal)


@pytest.mark.parametrize(
    "query",
    [
        "foo{a=`x\\.y`}",
        r"foo{a=~`\d+\.`}",
        'foo{or="a"}',
        "foo # c\r + bar",
        "by or or or and",
        "sum by (by, and, atan2, bool, start) (sum)",
        "foo[5m] @ 010",
        "foo == bool bar",
        "foo*on(x)group_left bar",
        "-foo^-bar",
        "1_000",
        "foo{a='\\''}",
        'foo{a="\\\'"}',
        'foo{a="\ufffd"}',
        "foo * on (x) group_left (bar)",
        "group_left",
        "foo[5m:1m",
        "inf{}",
        "foo{a:b='c'}",
        "foo by (x)",
        "foo[5m][5m]",
        "foo offset",
        "foo @ foo",
        "sum(foo) by (a) by (b)",
        "sum by (a) (foo) by (b)",
        "foo(",
        "{}",
        "foo \v + bar",
        "foo.bar",
        "foo{a='b'c='d'}",
    ],
)
def test_what_the_engine_accepts_is_read_and_filtered(asked: Asked, query: str) -> None:
    if not asked.accepts(query):
        return
    if "\r" in query:
        with pytest.raises(ValueError, match="carriage return"):
            inject_matchers(query, ENV)
        return

    formatted = asked.formatted(inject_matchers(query, ENV)).replace("`", '"')

    assert formatted.count(ENV) == len(parse(query).selectors) > 0


# A query and the same query filtered by hand.
FILTERED = [
    ("fastapi_requests_total", f"fastapi_requests_total{{{ENV}}}"),
    ('sum(fastapi_requests_total{status_class="2xx"})', f'sum(fastapi_requests_total{{status_class="2xx",{ENV}}})'),
    ("sum by (path) (rate(fastapi_requests_total[5m]))", f"sum by (path) (rate(fastapi_requests_total{{{ENV}}}[5m]))"),
    (
        'sum(rate(fastapi_requests_total{status_class="5xx"}[5m])) / sum(rate(fastapi_requests_total[5m]))',
        f'sum(rate(fastapi_requests_total{{status_class="5xx",{ENV}}}[5m]))'
        f" / sum(rate(fastapi_requests_total{{{ENV}}}[5m]))",
    ),
    (
        "histogram_quantile(0.95, sum by (le) (rate(model_inference_duration_seconds_bucket[10m])))",
        f"histogram_quantile(0.95, sum by (le) (rate(model_inference_duration_seconds_bucket{{{ENV}}}[10m])))",
    ),
    (
        'provider_availability{source=""} * on (env, instance, provider) group_left () provider_error_rate',
        f'provider_availability{{source="",{ENV}}} * on (env, instance, provider) group_left ()'
        f" provider_error_rate{{{ENV}}}",
    ),
    (
        "max_over_time(sum(rate(tokens_used_total[5m]))[20m:1m])",
        f"max_over_time(sum(rate(tokens_used_total{{{ENV}}}[5m]))[20m:1m])",
    ),
    ('max({__name__=~"cache_.*_total"}) by (env)', f'max({{__name__=~"cache_.*_total",{ENV}}}) by (env)'),
    ("count by (env) (provider_availability offset 5m)", f"count by (env) (provider_availability{{{ENV}}} offset 5m)"),
    ('count(active_api_keys{env!="x",}) or vector(0)', f'count(active_api_keys{{env!="x",{ENV}}}) or vector(0)'),
    (
        "trial_active unless on (status) active_api_keys",
        f"trial_active{{{ENV}}} unless on (status) active_api_keys{{{ENV}}}",
    ),
    ("absent(nosuch)", f"absent(nosuch{{{ENV}}})"),
    (
        'label_replace(subscription_count, "plan", "$1", "plan_type", "(.).*")',
        f'label_replace(subscription_count{{{ENV}}}, "plan", "$1", "plan_type", "(.).*")',
    ),
    (f"avg(cache_size_bytes @ {samples.END - 60})", f"avg(cache_size_bytes{{{ENV}}} @ {samples.END - 60})"),
    ("sum(cache_size_bytes > bool 5 * 2 ^ 20)", f"sum(cache_size_bytes{{{ENV}}} > bool 5 * 2 ^ 20)"),
]


@pytest.mark.parametrize(("query", "by_hand"), FILTERED)
def test_an_injected_matcher_gives_what_one_written_by_hand_gives(engine: Engine, query: str, by_hand: str) -> None:
    matchers = format_filters([Filter("env", "=", "production")])

    for time in TIMES:
        expected = _values(engine, by_hand, time)
        assert expected
        # Engines add floats in the order in which series happen to arrive.
        assert _values(engine, inject_matchers(query, matchers), time) == pytest.approx(expected)


def _values(engine: Engine, query: str, time: float) -> dict[frozenset[tuple[str, str]], float]:
    return {frozenset(labels.items()): float(value) for labels, value in engine.vector(query, time)}


@pytest.mark.parametrize("value", [text for text in samples.HOSTILE if text])
def test_a_hostile_value_selects_its_own_series(asked: Asked, value: str) -> None:
    for operator in ("=", "=|"):
        matchers = format_filters([Filter("env", "=", "hostile"), Filter("model", operator, value, (value,))])
        (series,) = asked.ask(inject_matchers("model_inference_requests_total", matchers))
        assert series["metric"]["model"] == value


def test_a_repaired_variable_selects_its_series(asked: Asked) -> None:
    for sign, value in (
        ("=", r"google\/gemini-2\.0-flash-exp:free"),
        ("=~", r"(google\/gemini-2\.0-flash-exp:free|x)"),
    ):
        query = repair_escapes(
            f'count by (model) (model_inference_requests_total{{env="production",model{sign}"{value}"}})'
        )
        (series,) = asked.ask(query)
        assert series["metric"]["model"] == "google/gemini-2.0-flash-exp:free"


def test_expanded_macros_run(asked: Asked) -> None:
    query = "sum(increase(up[$__range])) / ${__range_s} + sum(rate(up[[[__rate_interval]]] @ 0)) or vector($__to)"

    assert asked.ask(expand_macros(query, SPAN))


# Prometheus reads these in one way and VictoriaMetrics in another, so nobody can say what a filter would do.
AMBIGUOUS = [
    r'cache_size_bytes{cache_name!=`\`,env!=`,cache_name="}`}',
    "cache_size_bytes # \r + `\n or trial_active #`",
]


@pytest.mark.parametrize("query", AMBIGUOUS)
def test_what_engines_read_in_different_ways_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"raw string ends with a backslash|carriage return"):
        inject_matchers(query, ENV)


def test_victoria_metrics_goes_on_where_a_comment_has_ended(victoria_metrics: Engine, asked: Asked) -> None:
    query = "count(trial_active) # \r + 1000"

    assert float(asked.ask(query)[0]["value"][1]) > 1000
    assert float(victoria_metrics.vector(query, samples.END)[0][1]) < 1000
