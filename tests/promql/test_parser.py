"""What is read once: parsed queries, the cache of them, and what is told of a changed query without reading it."""

import gc
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from gatewayz_metrics.promql.lexer import lex
from gatewayz_metrics.promql.macros import expand_macros, find_unresolved
from gatewayz_metrics.promql.parser import ParsedQueries, ParsedQuery, QueryText, parse
from gatewayz_metrics.promql.rewrite import add_matchers, read_query, repair_escapes
from hypothesis import given
from hypothesis import strategies as st

from tests.promql.grammar import MATCHER_LISTS, QUERIES, TEXTS, damaged, examples
from tests.promql.test_macros import SPAN
from tests.promql.test_rewrite import PLACES
from tests.support.calls import counting

# --------------------------------------------------------------------------- filters added to what was read


def derived(query: str, matchers: str) -> ParsedQuery:
    """What is told of a filtered query."""
    with counting(lex) as calls:
        found = add_matchers(QueryText(query, ParsedQuery.read), matchers)
        parsed = found.parsed
    texts = [call["text"] for call in calls]
    assert texts.count(query) == 1
    assert found.text not in texts or found.text == query
    return parsed


@examples(300)
@given(QUERIES, MATCHER_LISTS)
def test_a_filtered_query_is_told_as_if_it_had_been_read(query: str, matchers: str) -> None:
    found = derived(query, matchers)

    assert found == ParsedQuery.read(found.text)


@examples(150)
@given(damaged(), MATCHER_LISTS)
def test_a_damaged_query_is_told_so_too_or_refused(query: str, matchers: str) -> None:
    try:
        found = add_matchers(QueryText(query), matchers)
    except ValueError:
        return

    assert found.parsed == ParsedQuery.read(found.text)


@pytest.mark.parametrize("matchers", ["x='y'", 'a="b" , or=~`c`', '__name__!=""', 'a="$__from"', '"a.b"="{"'])
@pytest.mark.parametrize("query", PLACES)
def test_every_kind_of_place_is_told(query: str, matchers: str) -> None:
    try:
        found = add_matchers(QueryText(query), matchers).parsed
    except ValueError:
        assert matchers.startswith("__name__")
        return

    fresh = ParsedQuery.read(found.text)
    assert found == fresh
    assert (found.unresolved, found.traits, found.windows) == (fresh.unresolved, fresh.traits, fresh.windows)


@examples(60)
@given(QUERIES, MATCHER_LISTS, MATCHER_LISTS)
def test_filters_on_filters_are_told_too(query: str, first: str, second: str) -> None:
    found = add_matchers(add_matchers(QueryText(query), first), second)

    assert found.parsed == ParsedQuery.read(found.text)


# --------------------------------------------------------------------------- what follows from a query


@examples(160)
@given(TEXTS)
def test_what_a_word_was_found_to_be_hides_no_macro(text: str) -> None:
    assert parse(text).unresolved == find_unresolved(lex(text))


@pytest.mark.parametrize(
    ("query", "windows"),
    [
        ("rate(a[5m]) + rate(b[ 1h30m ]) - c[5m]", ("5m", "1h30m")),
        ("max_over_time(rate(a[1m])[1h:5m])", ("1m",)),
        ("up", ()),
        ('up{a="[5m]"} # [5m]', ()),
        ("rate(a[5m", ()),
    ],
)
def test_the_windows_of_a_query(query: str, windows: tuple[str, ...]) -> None:
    assert parse(query).windows == windows


def test_text_without_their_signs_is_not_read_for_backslashes_or_macros() -> None:
    with counting(lex) as calls:
        assert repair_escapes('up{a="b"}[5m]') == 'up{a="b"}[5m]'
        assert QueryText('up{a="b"}[5m]').unresolved == ()
        assert read_query("rate(up[$__range])", SPAN).text == "rate(up[3600s])"

    assert not calls


@pytest.mark.parametrize("text", [r'up{a="b\\.c"}', 'label_replace(up, "a", "$1", "b", "(.*)")', r'up{a=~"\\d$|\\.$"}'])
def test_a_text_with_their_signs_is_read_once(text: str) -> None:
    with counting(lex) as calls:
        query = read_query(text, SPAN)
        assert query.parsed.traits.cacheable
        assert add_matchers(query, "").parsed.windows == ()

    assert len(calls) <= 1
    assert query.text == expand_macros(repair_escapes(text), SPAN)


# --------------------------------------------------------------------------- the cache


def test_a_query_is_read_once_for_as_long_as_it_is_kept() -> None:
    queries = ParsedQueries(2**20)
    with counting(lex) as calls:
        first, second = queries.get("up"), queries.get("up")
        queries.clear()
        third = queries.get("up")

    assert first is second
    assert first == third
    assert len(calls) == 2


def test_a_giant_is_not_kept_and_takes_nothing_from_the_others() -> None:
    queries = ParsedQueries(2**16)
    kept = queries.get("up")
    giant = queries.get("+".join(["up"] * 1000))

    assert queries.get("up") is kept
    assert queries.get(giant.text) is not giant
    assert queries.weight == kept.weight


def test_one_that_is_not_kept_is_still_read_once_per_request() -> None:
    giant = "+".join(["up[5m]"] * 4000)
    with counting(lex) as calls:
        query = add_matchers(read_query(giant, SPAN), 'a="b"')
        assert query.parsed.windows == ("5m",)
        assert query.parsed.traits.cacheable

    assert [call["text"] for call in calls if 'a="b"' not in str(call["text"])] == [giant]


@given(st.lists(st.integers(0, 400), max_size=40))
def test_the_bound_holds(lengths: list[int]) -> None:
    queries = ParsedQueries(2**17)
    for length in lengths:
        queries.get("+".join(["up"] * length))

        assert 0 <= queries.weight <= 2**17


@pytest.mark.parametrize(
    "query",
    [
        "sum by (job) (rate(http_requests_total{job='api',code=~'5..'}[5m])) / 2",
        " or ".join(f'sum by (job) (rate(http_requests_total{{job="api{n}",code=~"5.."}}[5m]))' for n in range(100)),
        "+".join(["up"] * 1000),
        "abs(" * 1000 + "a" + ")" * 1000,
        "a{" + ",".join(f'l{n}="v"' for n in range(1000)) + "}",
        "up{a='" + "x" * 30_000 + "'}",
        "[" * 5000,
    ],
    ids=["panel", "long panel", "selectors", "calls", "matchers", "text", "fault"],
)
def test_accounted_bytes_are_about_the_real_ones(query: str) -> None:
    # A process of its own: threads of other tests would be counted too.
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        share = fresh.submit(share_of_the_accounted_bytes, query).result()

    assert 0.4 < share < 1.0


def share_of_the_accounted_bytes(query: str) -> float:
    # What the first reading leaves behind (compiled patterns, caches of the enumerations) belongs to no query.
    assert ParsedQuery.read(query).traits is not None
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    found = [ParsedQuery.read("".join([query, " " * number])) for number in range(20)]
    for each in found:
        assert each.traits is each.traits
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / sum(each.weight for each in found)


def test_half_a_character_has_a_digest_too() -> None:
    assert parse("up{a='\udcff'}").selectors
