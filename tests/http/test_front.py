"""The front gives what the routes would give at that moment, and nothing else."""

import asyncio
import gc
import gzip
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from gatewayz_metrics.http.sending import LARGE
from gatewayz_metrics.server.edge import ServerEdge
from gatewayz_metrics.server.limits import Limits
from gatewayz_metrics.upstream.request import Tenant
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.http.world import END, NOW, STEP, Answered, World, make_scope, world

SUMMARY = "/prometheus/metrics/summary"
RANGE = f"/api/v1/query_range?query=up&start={END - 6000}&end={END}&step={STEP}"
LABELS = f"/api/v1/labels?start={END - 600}&end={END}"
TARGETS = (
    SUMMARY,
    f"{SUMMARY}?values=number&sources=1",
    f"{SUMMARY}?format=csv",
    f"{SUMMARY}?category=http&time={END}",
    "/prometheus/metrics/system",
    "/prometheus/metrics/all",
    RANGE,
    # Whose newest point is settled by a hair, and whose newest is not.
    f"/api/v1/query_range?query=up&start={int(NOW) - 600}&end={int(NOW) - 300}&step={STEP}",
    f"/api/v1/query_range?query=up&start={int(NOW) - 600}&end={int(NOW)}&step={STEP}",
    f"/api/v1/query_range?query=up+offset+-5m&start={int(NOW) - 1200}&end={int(NOW) - 600}&step={STEP}",
    f"{RANGE}&nocache=1",
    LABELS,
    "/api/v1/labels",
    "/api/v1/label/job/values",
    "/api/v1/series?match[]=up",
    "/api/v1/metadata",
    "/api/v1/status/buildinfo",
    "/api/v1/rules",
    "/api/v1/query?query=1",
    "/api/v1/query?query=up",
    f"/api/v1/query?query=up&time={END}",
    "/api/v1/query?query=(",
    "/api/v1/query_range?query=up",
    "/prometheus/metrics/docs",
    "/prometheus/metrics/nothing",
    "/api/v1/targets",
)
# What every kind of answer is kept by: the second or third question finds it warm.
KEPT = [target for target in TARGETS[:18] if "nocache" not in target and f"end={int(NOW)}&" not in target]

BEARER = {"authorization": "Bearer all"}
TEAMS = {"a": Tenant(headers=(("X-Scope-OrgID", "a"),)), "b": Tenant(headers=(("X-Scope-OrgID", "b"),))}
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"accept-encoding": "gzip"},
    {"accept-encoding": "gzip;q=0, br"},
    {"accept": "application/openmetrics-text"},
    {"accept": "text/plain;version=0.0.4", "accept-encoding": "deflate, gzip"},
    {"cache-control": "no-cache"},
    {"fromalert": "true"},
    {"user-agent": "vmalert"},
    {"x-request-id": "mine"},
)


def run(test: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test in a world of its own."""

    async def inside() -> None:
        async with world(**options) as found:
            await test(found)

    asyncio.run(inside())


async def until_warm(here: World, target: str, headers: dict[str, str] | None = None) -> Answered:
    """Ask until the front answers, which is the third time at the latest."""
    for _ in range(3):
        answered = await here.get(target, headers)
        if answered.was_warm:
            return answered
    raise AssertionError(f"{target} was not answered by the front")


# --------------------------------------------------------------------------- what is equal


TOKENS: tuple[dict[str, str], ...] = (
    {},
    BEARER,
    {"authorization": "Bearer a"},
    {"x-api-key": "b"},
    {"authorization": "Bearer none"},
)
ASKS = st.tuples(
    st.just("ask"), st.sampled_from(TARGETS), st.sampled_from(HEADERS), st.sampled_from(TOKENS), st.booleans()
)
EVENTS = st.tuples(
    st.sampled_from(["pass", "purge", "down", "up", "back", "date", "tokens"]),
    st.sampled_from([0.3, 0.9, 2.6, 5.0, 9.9, 31.0, 301.0, 1900.0]),
)


async def _happen(here: World, event: str, seconds: float) -> None:
    service = here.service
    match event:
        case "pass":
            here.clocks.advance(seconds)
        case "purge":
            service.purge()
        case "down" | "up":
            here.source.down = event == "down"
        case "back":
            here.clocks.wall -= seconds
        case "date":
            here.clocks.date_shift = -seconds
        case "tokens":
            # Two teams change their tokens.
            service.authenticator.replace({"a": TEAMS["b"], "b": TEAMS["a"]} if seconds < 5 else TEAMS)


async def _compare(here: World, target: str, headers: dict[str, str], *, by_post: bool) -> bool:
    """Ask once; where the front answers, the framework has to say the same, and to count the same."""
    path, _, query = target.partition("?")

    async def ask(*, front: bool) -> Answered:
        if by_post:
            return await here.post(path, query.encode(), headers=headers, front=front)
        return await here.get(target, headers, front=front)

    before = here.counts()
    answered = await ask(front=True)
    if not answered.was_warm:
        return False
    between = here.counts()
    expected = await ask(front=False)
    after = here.counts()
    assert answered.comparable == expected.comparable
    changed = {name: between[name] - before.get(name, 0.0) for name in between}
    assert changed == {name: after[name] - between.get(name, 0.0) for name in after}
    return True


STEPS = given(st.lists(st.one_of(ASKS, ASKS, EVENTS), min_size=5, max_size=25), st.sampled_from([2, 150]))


@settings(max_examples=20)
@STEPS
def test_an_answer_of_the_front_is_that_of_the_route(steps: list[Any], size: int) -> None:
    _take_steps(steps, size)


@pytest.mark.nightly
@settings(max_examples=1000)
@STEPS
def test_an_answer_of_the_front_is_that_of_the_route_all_night(steps: list[Any], size: int) -> None:
    _take_steps(steps, size)


def _take_steps(steps: list[Any], size: int) -> None:
    async def test(here: World) -> None:
        here.source.size = size
        here.service.authenticator.replace(TEAMS)
        for kind, *rest in steps:
            if kind == "ask":
                target, headers, token, by_post = rest
                for _ in range(3):
                    await _compare(here, target, headers | token, by_post=by_post and target.startswith("/api"))
            else:
                await _happen(here, kind, *rest)

    run(test, api_tokens=("all",), max_range=90_000)


@pytest.mark.parametrize("target", KEPT)
def test_what_caches_keep_is_answered_by_the_front(target: str) -> None:
    async def test(here: World) -> None:
        await until_warm(here, target)
        assert await _compare(here, target, {}, by_post=False)
        assert here.source.asked <= 4  # a summary is four questions

    run(test)


@pytest.mark.parametrize(
    "headers", [{"cache-control": "no-cache"}, {"fromalert": "true"}, {"accept": "a" * 9000}, {"content-length": "1"}]
)
def test_a_request_that_says_more_goes_on(headers: dict[str, str]) -> None:
    async def test(here: World) -> None:
        await until_warm(here, RANGE)
        assert not (await here.get(RANGE, headers)).was_warm

    run(test)


def test_a_form_is_part_of_the_question() -> None:
    async def test(here: World) -> None:
        path, _, query = RANGE.partition("?")
        first, other = query.encode(), query.replace("up", "down").encode()
        found = [await here.post(path, first) for _ in range(3)]
        assert [each.was_warm for each in found] == [False, False, True]
        assert not (await here.post(path, other)).was_warm
        # In parts, as JSON and in the URL it is the framework's to read.
        assert (await here.post(path, first[:9], first[9:])).comparable == found[1].comparable
        assert not (await here.post(path, first[:9], first[9:])).was_warm
        assert not (await here.post(path, first, headers={"content-type": "application/json"})).was_warm
        assert not (await here.get(path)).was_warm

    run(test)


def test_a_body_that_cannot_be_read_is_told_to_the_route() -> None:
    async def test(here: World) -> None:
        sent = []

        async def receive() -> Any:
            raise OSError("gone")

        async def send(message: Any) -> None:
            sent.append(message)

        form = {"content-type": "application/x-www-form-urlencoded", "content-length": "9"}
        await here.fronted(make_scope("POST", "/api/v1/query", form), receive, send)
        assert here.reached
        assert sent[0]["status"] == 500

    run(test)


# --------------------------------------------------------------------------- how long


def test_it_ends_exactly_with_what_is_kept() -> None:
    async def test(here: World) -> None:
        first = await until_warm(here, SUMMARY)
        here.clocks.advance(4.999)
        again = await here.get(SUMMARY)
        assert (again.body, again.was_warm) == (first.body, True)
        here.clocks.advance(0.001)
        later = await here.get(SUMMARY)
        assert not later.was_warm
        assert later.body != first.body

    run(test, cache_ttl=5, cache_stale=0)


@pytest.mark.parametrize("target", [SUMMARY, RANGE, LABELS])
def test_a_purge_ends_it(target: str) -> None:
    async def test(here: World) -> None:
        first = await until_warm(here, target)
        here.service.purge()
        later = await here.get(target)
        assert not later.was_warm
        assert later.body != first.body

    run(test)


@pytest.mark.parametrize("target", [RANGE, LABELS])
def test_a_clock_that_goes_back_ends_it(target: str) -> None:
    async def test(here: World) -> None:
        await until_warm(here, target)
        here.clocks.wall -= 3600
        assert not (await here.get(target)).was_warm

    run(test)


def test_points_that_the_upstreams_clock_has_not_reached_are_asked_for() -> None:
    async def test(here: World) -> None:
        await until_warm(here, RANGE)
        here.clocks.date_shift = -1500
        await here.get("/api/v1/query?query=up")
        assert not (await here.get(RANGE)).was_warm

    run(test)


def test_the_age_is_that_of_the_moment() -> None:
    async def test(here: World) -> None:
        await until_warm(here, LABELS)
        here.clocks.advance(12.4)
        answered = await here.get(LABELS)
        assert answered.was_warm
        assert (answered.header("age"), answered.header("x-cache")) == ("12", "hit")

    run(test)


def test_an_outage_is_told_and_ends_as_without_the_front() -> None:
    async def test(here: World) -> None:
        here.source.down = True
        down = await until_warm(here, SUMMARY)
        assert down.header("x-upstream-status") == "down"
        here.source.down = False
        here.clocks.advance(1)
        assert (await here.get(SUMMARY)).header("x-upstream-status") == "ok"

    run(test)


def test_without_a_lifetime_there_is_no_front() -> None:
    async def test(here: World) -> None:
        for target in (SUMMARY, RANGE, LABELS):
            assert [(await here.get(target)).was_warm for _ in range(4)] == [False] * 4

    run(test, cache_ttl=0)


# --------------------------------------------------------------------------- for whom


def test_a_token_is_checked_every_time() -> None:
    async def test(here: World) -> None:
        await until_warm(here, SUMMARY, BEARER)
        assert [(await here.get(SUMMARY, token)).status for token in TOKENS] == [401, 200, 401, 401, 401]
        here.service.tokens.replace([SecretStr("new")])
        refused = await here.get(SUMMARY, BEARER)
        assert (refused.status, refused.was_warm) == (401, False)
        assert (await here.get(SUMMARY, {"x-api-key": "new"})).was_warm

    run(test, api_tokens=("all",))


def test_tenants_share_nothing_even_while_tokens_change() -> None:
    async def test(here: World) -> None:
        here.service.authenticator.replace(TEAMS)
        a, b = ({"authorization": f"Bearer {token}"} for token in "ab")
        first = await until_warm(here, LABELS, a)
        other = await here.get(LABELS, b)
        assert not other.was_warm
        assert other.body != first.body
        here.service.authenticator.replace({"a": TEAMS["b"]})
        assert (await here.get(LABELS, a)).body == other.body
        assert (await here.get(LABELS, b)).status == 401

    run(test, api_tokens=("all",))


def test_an_answer_is_not_kept_for_whom_its_token_meant_before() -> None:
    async def test(here: World) -> None:
        here.service.authenticator.replace(TEAMS)
        token = {"authorization": "Bearer a"}
        path, _, query = LABELS.partition("?")
        first = await here.post(path, query.encode(), headers=token)
        # The front has found the place of team a; the route's own check finds that the token is team b's by now.
        here.before_route = lambda: here.service.authenticator.replace({"a": TEAMS["b"], "b": TEAMS["a"]})
        for _ in range(2):
            await here.post(path, query.encode(), headers=token)
            here.service.authenticator.replace(TEAMS)
        here.before_route = None
        again = await here.post(path, query.encode(), headers=token)
        assert (again.was_warm, again.body) == (False, first.body)

    run(test, api_tokens=("all",))


# --------------------------------------------------------------------------- memory


def test_a_large_body_is_reserved_once_for_all_who_read_it() -> None:
    async def test(here: World) -> None:
        here.source.size = 200
        answered = await until_warm(here, RANGE)
        assert len(answered.body) > LARGE
        full, reading = asyncio.Event(), asyncio.Event()
        parts: list[bytes] = []

        async def send(message: Any) -> None:
            parts.append(message.get("body", b""))
            if len(parts) == 8:
                full.set()
            await reading.wait()

        async def receive() -> Any:
            await asyncio.Future()

        readers = [asyncio.create_task(here.fronted(make_scope("GET", RANGE, {}), receive, send)) for _ in range(8)]
        await full.wait()
        assert here.service.memory.held == len(answered.body)
        reading.set()
        await asyncio.gather(*readers)
        assert here.service.memory.held == 0
        assert max(map(len, parts)) <= 2**17
        assert b"".join(parts).count(b'"status":"success"') == 8

    run(test)


def test_without_memory_the_route_has_words_for_it() -> None:
    async def test(here: World) -> None:
        here.source.size = 200
        await until_warm(here, RANGE)
        here.service.memory.take(here.service.memory.capacity, for_catalogue=True)
        answered = await here.get(RANGE)
        assert not answered.was_warm
        assert answered.status == 503

    run(test)


def test_what_is_kept_is_bounded() -> None:
    async def test(here: World) -> None:
        here.source.size = 15
        targets = [f"{LABELS}&dashboard={number}" for number in range(100)]
        for target in targets:
            for _ in range(3):
                await here.get(target)
        # An eighth of the memory has room for about five of them.
        assert (await here.get(targets[-1])).was_warm
        assert not (await here.get(targets[-10])).was_warm

    run(test, max_memory_bytes=2**20)


def test_an_answer_keeps_no_snapshot_alive() -> None:
    async def test(here: World) -> None:
        await until_warm(here, SUMMARY)
        snapshot = weakref.ref(await here.service.layer.statistics())
        here.service.layer.purge()
        # The event loop itself holds the result of the last step.
        await asyncio.sleep(0)
        gc.collect()
        assert snapshot() is None

    run(test)


# --------------------------------------------------------------------------- forms


@pytest.mark.parametrize("target", [f"{SUMMARY}?sources=1", "/prometheus/metrics/all", RANGE, LABELS])
def test_a_body_is_compressed_once(target: str) -> None:
    async def test(here: World) -> None:
        plain = await until_warm(here, target)
        packed = await until_warm(here, target, {"accept-encoding": "gzip"})
        assert gzip.decompress(packed.body) == plain.body
        assert (packed.header("content-encoding"), plain.header("content-encoding")) == ("gzip", None)
        assert "Accept-Encoding" in (plain.header("vary") or "")
        again = await here.get(target, {"accept-encoding": "br, gzip"})
        assert again.body is packed.body

    run(test)


# --------------------------------------------------------------------------- in the server


def test_the_server_gives_small_answers_before_anything_else() -> None:
    async def test(here: World) -> None:
        async def ask(target: str, headers: dict[str, str] | None = None) -> Answered:
            return await here.ask_through(edge, "GET", target, headers or {})

        edge = ServerEdge(
            here.fronted, Limits.from_settings(here.service.settings), here.services.telemetry, here.front
        )
        first = await ask(LABELS)
        assert (await ask(LABELS)).header("server") == first.header("server") == "gatewayz-metrics"
        here.clocks.advance(3)
        given = await ask(LABELS)
        assert given.was_warm
        assert not here.passed
        # Behind the edge, and without any front.
        for front in (True, False):
            expected = await here.get(LABELS, front=front)
            assert given.comparable == (*expected.comparable[:1], _with_server(expected), expected.body)
        # What is large, or says more, goes the long way; the front behind the edge still knows the large one.
        here.source.size = 100
        await until_warm(here, RANGE)
        assert (await ask(RANGE)).was_warm
        assert here.passed
        assert not (await ask(LABELS, {"cache-control": "no-cache"})).was_warm

    run(test)


def _with_server(answered: Answered) -> tuple[tuple[bytes, bytes], ...]:
    headers = tuple(header for header in answered.headers if header[0] != b"x-request-id")
    return (*headers, (b"server", b"gatewayz-metrics"))
