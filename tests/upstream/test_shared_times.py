"""Times at which callers meet: whole minutes for lists, multiples of a step for instant queries."""

import pytest
from gatewayz_metrics.promql.times import parse_time
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.shared_times import lower_instant, widen_window
from hypothesis import given
from hypothesis import strategies as st

LISTS = [Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES]
NOON = 1_735_041_600  # 2024-12-24T12:00:00Z


def window(start: str | None, end: str | None) -> Pairs:
    return tuple((name, text) for name, text in (("start", start), ("end", end)) if text is not None)


WIDENED = {
    "both": (window(f"{NOON + 1}", f"{NOON + 61}"), window(f"{NOON}", f"{NOON + 120}")),
    "milliseconds": (window(f"{NOON}.001", f"{NOON}.001"), window(f"{NOON}", f"{NOON + 60}")),
    "RFC 3339": (window("2024-12-24T13:00:59.999+01:00", None), window(f"{NOON}", None)),
    "a start alone": (window(f"{NOON + 30}", None), window(f"{NOON}", None)),
    "an end alone": (window(None, f"{NOON + 30}"), window(None, f"{NOON + 60}")),
    "before 1970": (window("-30.5", "-0.001"), window("-60", "0")),
    "an end that is no time": (window(f"{NOON + 1}", "now"), window(f"{NOON}", "now")),
}
AS_THEY_ARE = {
    "whole minutes": window(f"{NOON}", f"{NOON + 60}.000"),
    "nothing": window(None, None),
    "no times": window("yesterday", ""),
    "no zone": window("2024-12-24T12:00:01", None),
    "below a millisecond": window(f"{NOON}.0001", f"{NOON}.99999"),
    "below a millisecond, RFC 3339": window("2024-12-24T12:00:00.0001Z", None),
    "the end before the start": window(f"{NOON + 50}", f"{NOON + 10}"),
    "an exponent": window("1.735041661e9", None),
    "beyond all times": window("-9223372036854775.808", "9223372036854775.807"),
}


@pytest.mark.parametrize(("written", "asked"), WIDENED.values(), ids=WIDENED)
@pytest.mark.parametrize("endpoint", LISTS)
def test_a_list_is_asked_about_whole_minutes(endpoint: Endpoint, written: Pairs, asked: Pairs) -> None:
    rest = (("match[]", "up"), ("limit", "61"))
    request = ApiRequest(endpoint, (*rest, *written), "job", Tenant(matcher='team="a"'))

    assert widen_window(request) == ApiRequest(endpoint, (*rest, *asked), "job", Tenant(matcher='team="a"'))


@pytest.mark.parametrize("written", AS_THEY_ARE.values(), ids=AS_THEY_ARE)
def test_what_cannot_be_moved_goes_as_it_is(written: Pairs) -> None:
    request = ApiRequest(Endpoint.LABELS, written)

    assert widen_window(request) is request


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each not in LISTS])
def test_no_other_question_is_widened(endpoint: Endpoint) -> None:
    request = ApiRequest(endpoint, window(f"{NOON + 1}", f"{NOON + 61}"))

    assert widen_window(request) is request


@given(st.integers(-(10**12), 10**13), st.integers(0, 10**9))
def test_a_widened_window_holds_the_callers_and_less_than_a_minute_more(start: int, length: int) -> None:
    request = ApiRequest(Endpoint.LABELS, window(f"{start / 1000:.3f}", f"{(start + length) / 1000:.3f}"))
    wide = widen_window(request)
    first, last = (parse_time(wide.get(name) or "") for name in ("start", "end"))

    assert first is not None
    assert last is not None
    assert start - 60_000 < first <= start
    assert start + length <= last < start + length + 60_000
    assert first % 60_000 == last % 60_000 == 0
    assert widen_window(wide) is wide


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (f"{NOON}.999", f"{NOON}"),
        (f"{NOON + 14}", f"{NOON}"),
        (f"{NOON + 15}", f"{NOON + 15}"),
        ("2024-12-24T12:00:20Z", f"{NOON + 15}"),
        (f"{NOON + 900}", f"{NOON + 900}"),
        (f"{NOON - 1}", f"{NOON - 1}"),
        (f"{NOON + 1}.0001", f"{NOON + 1}.0001"),
        ("now", "now"),
        (None, None),
    ],
)
def test_a_recent_moment_is_the_last_step(at: str | None, asked: str | None) -> None:
    def instant(time: str | None) -> ApiRequest:
        return ApiRequest(Endpoint.QUERY, (("query", "up"), *((("time", time),) if time else ())))

    assert lower_instant(instant(at), 15_000, NOON * 1000 - 1) == instant(asked)


def test_only_instant_queries_have_moments() -> None:
    request = ApiRequest(Endpoint.RULES, (("time", f"{NOON + 1}"),))

    assert lower_instant(request, 15_000, 0) is request
