"""Whole answers: shared while they are under way, kept while they are true."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import BadAnswer, LimitExceeded
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.response import Vector
from gatewayz_metrics.upstream.response_cache import ResponseCache

GOOD = ApiResponse(200, b'{"status":"success","data":[]}')
CALL = ApiRequest(Endpoint.LABELS)
NOW = 1_735_050_000.0
FRESHNESS = 300


@dataclass
class Source:
    """An upstream whose answers the test holds."""

    answer: ApiResponse = GOOD
    calls: list[ApiRequest] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def forward(self, call: ApiRequest) -> ApiResponse:
        self.calls.append(call)
        await self.free.wait()
        return self.answer

    async def instant(self, query: str, time: float | None = None) -> Vector:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


@dataclass
class Clock:
    """Seconds that the test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def responses(
    source: Source, *, keeps: bool = True, clock: Clock | None = None, max_series: int = 0, step: float = 0.0
) -> tuple[ResponseCache, Telemetry]:
    telemetry, passed = Telemetry(), clock or Clock()
    settings = Settings(
        cache_ttl=5.0 if keeps else 0.0,
        cache_freshness=FRESHNESS,
        max_series=max_series,
        instant_granularity=step,
    )
    gate = QueryLimiter(source, settings)
    trusted = TrustedClock(telemetry, wall=lambda: NOW + passed.now, monotonic=passed)
    return ResponseCache(gate, settings, telemetry, trusted), telemetry


def counted(telemetry: Telemetry, result: str) -> float:
    return (
        telemetry.registry.get_sample_value(
            "gatewayz_metrics_cache_lookups_total", {"cache": "responses", "result": result}
        )
        or 0.0
    )


def test_each_caller_is_counted_for_what_it_met() -> None:
    async def ask() -> tuple[int, list[float]]:
        source = Source()
        found, telemetry = responses(source, clock=Clock(1.0))
        # The moments of asking and of coming are apart, as they are in life.
        found._clock = iter(range(100)).__next__
        under_way = [asyncio.ensure_future(found.get(CALL)) for _ in range(3)]
        await asyncio.sleep(0)
        source.free.set()
        await asyncio.gather(*under_way)
        await found.get(CALL)
        return len(source.calls), [counted(telemetry, result) for result in ("miss", "coalesced", "hit")]

    assert asyncio.run(ask()) == (1, [1.0, 2.0, 1.0])


def calls_of(*requests: ApiRequest, answer: ApiResponse = GOOD, keeps: bool = True, fresh: bool = False) -> int:
    """How many of these requests, one after the other, reach the upstream."""

    async def ask() -> int:
        source = Source(answer)
        source.free.set()
        found, _ = responses(source, keeps=keeps)
        for request in requests:
            await found.get(request, fresh=fresh)
        return len(source.calls)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("answer", "keeps", "calls"),
    [
        pytest.param(GOOD, True, 1, id="good"),
        pytest.param(ApiResponse(204, b""), True, 1, id="nothing"),
        pytest.param(GOOD, False, 2, id="turned off"),
        pytest.param(ApiResponse(200, GOOD.body, cacheable=False), True, 2, id="no-store"),
        pytest.param(ApiResponse(200, GOOD.body[:-1] + b',"warnings":["w"]}'), True, 2, id="warnings"),
        pytest.param(ApiResponse(200, GOOD.body[:-1] + b',"isPartial":true}'), True, 2, id="partial"),
        pytest.param(ApiResponse(200, b'{"status":"error"}'), True, 2, id="error within a 200"),
        pytest.param(ApiResponse(400, b'{"status":"error"}', cacheable=False), True, 1, id="parse error"),
        pytest.param(ApiResponse(422, b'{"status":"error"}', cacheable=False), True, 2, id="too costly"),
        pytest.param(ApiResponse(503, b'{"status":"error"}', cacheable=False), True, 2, id="overloaded"),
        pytest.param(ApiResponse(200, b'{"status":"success","data":"%b"}' % (b"x" * 2**25)), True, 2, id="too large"),
    ],
)
def test_only_what_stays_true_is_kept(answer: ApiResponse, *, keeps: bool, calls: int) -> None:
    assert calls_of(CALL, CALL, answer=answer, keeps=keeps) == calls


@pytest.mark.parametrize(
    "endpoint", [Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES, Endpoint.METADATA, Endpoint.RULES]
)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_list_that_is_no_json_is_no_answer(endpoint: Endpoint, *, keeps: bool) -> None:
    cut = ApiResponse(200, b'{"status":"success","data":[{"a":"b"}')

    with pytest.raises(BadAnswer, match="invalid JSON"):
        calls_of(ApiRequest(endpoint, label="job"), answer=cut, keeps=keeps)


def test_keys_weigh_what_they_hold() -> None:
    async def ask() -> int:
        source = Source()
        source.free.set()
        found, _ = responses(source)
        for number in range(400):
            await found.get(ApiRequest(Endpoint.LABELS, (("unknown", f"{number}" + "x" * 200_000),)))
        return len(found._shared._kept) * 200_000

    # 80 MB of keys are asked for, and the capacity is 32 MiB for keys and answers together.
    assert 0 < asyncio.run(ask()) < 32 * 2**20


def instant(query: str, time: float | str | None) -> ApiRequest:
    at = () if time is None else (("time", str(time)),)
    return ApiRequest(Endpoint.QUERY, (("query", query), *at))


SETTLED = NOW - FRESHNESS


@pytest.mark.parametrize(
    ("request_", "calls"),
    [
        pytest.param(instant("up", SETTLED), 1, id="settled"),
        pytest.param(instant("up", "2024-12-24T10:00:00Z"), 1, id="settled, as RFC 3339"),
        pytest.param(instant("up", SETTLED + 0.001), 2, id="too new"),
        pytest.param(instant("up", None), 2, id="now"),
        pytest.param(instant("up", "nonsense"), 2, id="no time"),
        pytest.param(instant("up offset -5m", SETTLED), 2, id="looks ahead"),
        pytest.param(instant("up offset -5m", SETTLED - 300), 1, id="looks ahead, long ago"),
        pytest.param(instant(f"up @ {SETTLED}", SETTLED), 1, id="fixed time"),
        pytest.param(instant(f"up @ {SETTLED + 1}", SETTLED), 2, id="fixed time, too new"),
        pytest.param(instant("up @ end()", SETTLED), 2, id="bounds"),
        pytest.param(instant("nobody_knows(up)", SETTLED), 2, id="unknown function"),
        pytest.param(instant("up[", SETTLED), 2, id="not understood"),
        pytest.param(instant("1+1", None), 1, id="plain"),
        pytest.param(instant("time()", None), 2, id="the clock"),
        pytest.param(ApiRequest(Endpoint.QUERY), 2, id="no query"),
        pytest.param(ApiRequest(Endpoint.QUERY_RANGE, (("query", "up"),)), 2, id="range query"),
    ],
)
def test_an_instant_query_is_kept_when_it_is_settled(request_: ApiRequest, calls: int) -> None:
    assert calls_of(request_, request_) == calls
    assert calls_of(request_, request_, fresh=True) == 2


def test_a_fresh_request_gets_no_kept_answer_and_leaves_none() -> None:
    async def ask() -> list[int]:
        source = Source()
        source.free.set()
        found, _ = responses(source)
        calls = []
        for fresh in (True, False, True, False):
            await found.get(instant("up", SETTLED), fresh=fresh)
            calls.append(len(source.calls))
        return calls

    assert asyncio.run(ask()) == [1, 2, 3, 3]


@pytest.mark.parametrize(
    ("endpoint", "seconds"),
    [
        (Endpoint.LABELS, 30),
        (Endpoint.LABEL_VALUES, 30),
        (Endpoint.SERIES, 30),
        (Endpoint.RULES, 5),
        (Endpoint.METADATA, 300),
        (Endpoint.FORMAT_QUERY, 3600),
    ],
)
def test_how_long_an_answer_is_kept(endpoint: Endpoint, seconds: int) -> None:
    async def ask() -> list[int]:
        source, clock = Source(), Clock()
        source.free.set()
        found, _ = responses(source, clock=clock)
        calls = []
        for at in (0, seconds - 0.1, seconds):
            clock.now = at
            await found.get(ApiRequest(endpoint, label="job"))
            calls.append(len(source.calls))
        return calls

    assert asyncio.run(ask()) == [1, 1, 2]


def labels(*parameters: tuple[str, str], tenant: Tenant | None = None) -> ApiRequest:
    return ApiRequest(Endpoint.LABELS, parameters, tenant=tenant or Tenant())


START = ("start", "1735041600")
EQUAL: dict[str, tuple[Pairs, Pairs]] = {
    "order": ((START, ("end", "1735041601"), ("match[]", "up")), (("match[]", "up"), ("end", "1735041601"), START)),
    "decimals": ((START,), (("start", "1735041600.000"),)),
    "fraction": ((("start", "1735041600.5"),), (("start", "1735041600.500"),)),
    "RFC 3339": ((START,), (("start", "2024-12-24T12:00:00Z"),)),
    "zone": ((START,), (("start", "2024-12-24T13:00:00+01:00"),)),
    "zone and fraction": ((("start", "1735041600.25"),), (("start", "2024-12-24T11:00:00.250-01:00"),)),
    "before 1970": ((("end", "-1.5"),), (("end", "-1.500"),)),
}
UNEQUAL: dict[str, tuple[Pairs, Pairs]] = {
    "another minute": ((START,), (("start", "1735041660"),)),
    "the minute before": ((START,), (("start", "1735041599.999"),)),
    "another bound": ((START,), (("end", "1735041600"),)),
    "below a millisecond": ((START,), (("start", "1735041600.0001"),)),
    "below a millisecond, RFC 3339": ((START,), (("start", "2024-12-24T12:00:00.0001Z"),)),
    "no time": ((("start", "a"),), (("start", "b"),)),
    "no zone": ((START,), (("start", "2024-12-24T12:00:00"),)),
    "another selector": ((("match[]", "up"),), (("match[]", "down"),)),
    "order of values": ((("x", "1"), ("x", "2")), (("x", "2"), ("x", "1"))),
    "a number that is no time": ((("limit", "1"),), (("limit", "1.0"),)),
}


@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
def test_requests_of_one_meaning_share_an_answer(first: Pairs, second: Pairs) -> None:
    assert calls_of(labels(*first), labels(*second)) == 1


@pytest.mark.parametrize(("first", "second"), UNEQUAL.values(), ids=UNEQUAL)
def test_requests_of_another_meaning_do_not(first: Pairs, second: Pairs) -> None:
    assert calls_of(labels(*first), labels(*second)) == 2


@pytest.mark.parametrize(
    "tenants",
    [
        [Tenant(headers=(("X-Scope-OrgID", name),)) for name in "ab"],
        [Tenant(parameters=(("extra_label", f"team={name}"),)) for name in "ab"],
        [Tenant(matcher=f'team=~"{name}"') for name in "ab"],
        [Tenant(), Tenant(matcher='team=~"a"')],
    ],
)
def test_tenants_share_nothing(tenants: list[Tenant]) -> None:

    assert calls_of(*(labels(START, tenant=tenant) for tenant in tenants * 2)) == 2


# --------------------------------------------------------------------------- windows of lists


def asked_for(
    *requests: ApiRequest, answer: ApiResponse = GOOD, max_series: int = 0, keeps: bool = True, fresh: bool = False
) -> list[Pairs]:
    """The parameters of what reaches the upstream of these requests, one after the other."""

    async def ask() -> list[Pairs]:
        source = Source(answer)
        source.free.set()
        found, _ = responses(source, keeps=keeps, max_series=max_series)
        for request in requests:
            with suppress(LimitExceeded):
                await found.get(request, fresh=fresh)
        return [call.parameters for call in source.calls]

    return asyncio.run(ask())


ODD: Pairs = (("start", "1735041607.25"), ("end", "1735045207.25"))
WIDE: Pairs = (("start", "1735041600"), ("end", "1735045260"))


@pytest.mark.parametrize("endpoint", [Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES])
def test_viewers_within_a_minute_share_a_list(endpoint: Endpoint) -> None:
    later = (("start", "2024-12-24T12:00:59Z"), ("end", "2024-12-24T13:00:59Z"))

    assert asked_for(ApiRequest(endpoint, ODD), ApiRequest(endpoint, later)) == [WIDE]


def test_a_fresh_list_and_one_that_is_not_kept_have_their_own_window() -> None:
    assert asked_for(labels(*ODD), labels(*ODD), fresh=True) == [ODD, ODD]
    assert asked_for(labels(*ODD), labels(*ODD), keeps=False) == [ODD, ODD]


CUT = ApiResponse(200, GOOD.body[:-1] + b',"warnings":["results truncated due to limit"]}')
TWO = ApiResponse(200, b'{"status":"success","data":[{"a":"1"},{"a":"2"}]}')
COSTLY = ApiResponse(422, b'{"status":"error","errorType":"execution","error":"too many"}', cacheable=False)


@pytest.mark.parametrize(
    ("written", "answer", "asked"),
    [
        pytest.param((("limit", "2"), *ODD), CUT, [(("limit", "2"), *WIDE), (("limit", "2"), *ODD)], id="limit"),
        pytest.param(WIDE, CUT, [WIDE], id="nothing was widened"),
        pytest.param(ODD, CUT, [WIDE], id="a warning of another kind"),
        pytest.param(ODD, COSTLY, [WIDE, ODD], id="the engine's limit"),
        pytest.param(ODD, TWO, [WIDE, ODD], id="MAX_SERIES"),
        pytest.param(ODD, ApiResponse(400, COSTLY.body, cacheable=False), [WIDE], id="a parse error"),
        pytest.param(ODD, ApiResponse(503, COSTLY.body, cacheable=False), [WIDE], id="too slow"),
    ],
)
def test_what_a_minute_more_made_too_much_is_asked_again_without_it(
    written: Pairs, answer: ApiResponse, asked: list[Pairs]
) -> None:
    assert asked_for(ApiRequest(Endpoint.SERIES, written), answer=answer, max_series=1) == asked


def test_twenty_variables_cost_one_question_each_in_half_a_minute() -> None:
    """Three viewers, whose clocks differ by seconds, refresh every half minute for ten minutes."""

    async def ask() -> tuple[int, Counter[tuple[str, str | None]]]:
        source, clock = Source(), Clock()
        source.free.set()
        found, _ = responses(source, clock=clock)
        asked = 0
        for second in range(600):
            clock.now = second
            for begins, skew in ((2, 0.0), (11, -4.2), (23, 6.7)):
                if second % 30 != begins:
                    continue
                end = NOW + second + skew
                for variable in range(20):
                    window = (("start", f"{end - 21_600:.3f}"), ("end", f"{end:.3f}"))
                    await found.get(ApiRequest(Endpoint.LABEL_VALUES, window, f"label_{variable}"))
                    asked += 1
        return asked, Counter((call.label, call.get("end")) for call in source.calls)

    asked, sent = asyncio.run(ask())
    minutes = len({end for _, end in sent})

    assert asked == 20 * 3 * 20
    assert set(sent.values()) <= {1, 2}
    assert minutes <= 11
    assert sent.total() <= 20 * 2 * minutes


# --------------------------------------------------------------------------- instant queries near now


def moments(
    *times: float, gap: float = 0.0, fresh: bool = False, exact: bool = False, query: str = "up", step: float = 15.0
) -> list[str | None]:
    """The times that the upstream is asked about when viewers ask about these, with a pause between them."""

    async def ask() -> list[str | None]:
        source, clock = Source(), Clock()
        source.free.set()
        found, _ = responses(source, clock=clock, step=step)
        for time in times:
            await found.get(instant(query, f"{time:.3f}"), fresh=fresh, exact=exact)
            clock.now += gap
        return [call.get("time") for call in source.calls]

    return asyncio.run(ask())


def test_instant_queries_share_a_step_where_a_setting_says_so() -> None:
    viewers = (NOW + 0.25, NOW + 7.5, NOW + 14.999)

    assert moments(*viewers) == ["1735050000"]
    assert moments(*viewers, step=0) == ["1735050000.250", "1735050007.500", "1735050014.999"]
    assert moments(NOW + 14, NOW + 16) == ["1735050000", "1735050015"]


def test_a_shared_moment_is_asked_about_anew_after_a_step() -> None:
    assert moments(NOW + 3, NOW + 4, NOW + 5, gap=7.5) == ["1735050000"] * 2


def test_whoever_wants_a_moment_of_its_own_has_it() -> None:
    at = NOW + 7.5

    assert moments(at, at, exact=True) == ["1735050007.500"] * 2
    assert moments(at, at, fresh=True) == ["1735050007.500"] * 2
    # Of a settled moment every answer is the same, so it keeps its time.
    assert moments(SETTLED - 7.5, SETTLED - 7.5) == ["1735049692.500"]


def test_a_rule_gets_no_answer_that_viewers_share() -> None:
    async def ask() -> int:
        source = Source()
        source.free.set()
        found, _ = responses(source, step=15.0)
        for exact in (False, True, False, True):
            await found.get(instant("up", NOW), exact=exact)
        return len(source.calls)

    assert asyncio.run(ask()) == 3


def test_the_upstream_is_asked_in_the_first_callers_words() -> None:
    first = labels(("start", "2024-12-24T13:00:00+01:00"), ("match[]", "up"))

    async def ask() -> list[ApiRequest]:
        source = Source()
        found, _ = responses(source)
        under_way = [asyncio.ensure_future(found.get(call)) for call in (first, labels(("match[]", "up"), START))]
        await asyncio.sleep(0)
        source.free.set()
        await asyncio.gather(*under_way)
        return source.calls

    assert asyncio.run(ask()) == [first]
