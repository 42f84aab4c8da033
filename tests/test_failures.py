"""The failure matrix: whatever the upstream does, every route answers, in time and in its own words."""

import asyncio
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import cycle
from math import ceil, log2
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, query
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.query_plan import QueryPlanner
from gatewayz_metrics.service import Service
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream import breaker
from gatewayz_metrics.upstream.client import PROBE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import REFUSAL, Behaviour, FakeUpstream, answering, asks_for, in_turn, valued, when
from tests.support.waiting import wait_until

CATALOGUE = load()
TEXT_ROUTES = [*CATALOGUE.categories, "all"]
KEYS = {(statistic.section, statistic.key) for statistic in CATALOGUE.statistics}
GROUPS = query._STATISTIC_GROUPS  # requests that the whole summary takes
FAMILY_GROUPS = query._FAMILY_GROUPS  # requests that the page of all families takes

PLAIN = "text/plain; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

DEADLINE = 0.3
PATIENCE = 5.0  # where nothing stalls: a busy machine must not turn another failure into a timeout

USER, PASSWORD, TOKEN, HEADER, BEARER = (
    f"canary-{name}" for name in ("user", "s3cret", "api-token", "header", "bearer")
)
CANARIES = (USER, PASSWORD, TOKEN, HEADER, BEARER)
CALLER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Failure:
    """A misbehaviour, the error it is told as, and a piece of the sentence."""

    code: str
    behaviour: Behaviour = fakes.healthy
    scheme: str = "http"
    closed: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def deadline(self) -> float:
        return DEADLINE if self.code == "timeout" else PATIENCE


SENTENCES = {
    "unreachable": "cannot be reached",
    "tls": "TLS handshake",
    "timeout": "did not answer within 0.3 s",
    "connection_lost": "broke the connection before its answer was whole",
    "redirect": "redirect (302), which is not followed",
    "upstream_auth": "refuses our credentials",
    "rate_limited": "limits our rate (429)",
    "upstream_failed": "answers with HTTP",
    "bad_response": "does PROMETHEUS_URL name a Prometheus?",
    "too_large": "is larger than 65,536 bytes",
}
SMALL = {"max_response_bytes": 65536}
PACKED = {"prometheus_gzip": True}
SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)

FAILURES = {
    "refused": Failure("unreachable", closed=True),
    "https to a plain port": Failure("tls", scheme="https"),
    "hang": Failure("timeout", fakes.hang),
    "drip": Failure("timeout", fakes.drip),
    "slow head": Failure("timeout", fakes.slow_head),
    "503 JSON timeout": Failure(
        "timeout", answering(fakes.error_body("timeout", "query timed out"), "503 Service Unavailable")
    ),
    "reset before the reply": Failure("connection_lost", fakes.reset_before_reply),
    "end before the reply": Failure("connection_lost", fakes.close_before_reply),
    "half a head": Failure("connection_lost", fakes.half_a_head),
    "another protocol": Failure("connection_lost", fakes.another_protocol),
    "reset mid-body": Failure("connection_lost", fakes.reset_mid_body),
    "truncated": Failure("connection_lost", fakes.truncated),
    "broken chunks": Failure("connection_lost", fakes.broken_chunks),
    "broken chunks, later": Failure("connection_lost", fakes.broken_chunks_later),
    "half of the chunks": Failure("connection_lost", fakes.half_of_the_chunks),
    "packed on the way": Failure("connection_lost", fakes.packed_on_the_way),
    "huge headers": Failure("connection_lost", fakes.huge_headers),
    "garbage": Failure("connection_lost", fakes.garbage),
    "no length": Failure("connection_lost", fakes.no_length),
    "two lengths": Failure("connection_lost", fakes.two_lengths),
    "redirect": Failure("redirect", fakes.redirect),
    "401": Failure("upstream_auth", answering(b"no", "401 Unauthorized", WWW_Authenticate="Basic")),
    "403": Failure("upstream_auth", answering(b"<html>no</html>", "403 Forbidden", Content_Type="text/html")),
    "429 for seconds": Failure("rate_limited", answering(b"slow down", "429 Too Many Requests", Retry_After="50")),
    "429 until a date": Failure("rate_limited", answering(b"slow down", "429 Too Many Requests", Retry_After=SOON)),
    "429 for whatever": Failure("rate_limited", answering(b"slow", "429 Too Many Requests", Retry_After="later")),
    "404": Failure("upstream_failed", answering(b"404 page not found", "404 Not Found", Content_Type="text/plain")),
    "405 whatever the method": Failure("upstream_failed", answering(b"no", "405 Method Not Allowed")),
    "500": Failure("upstream_failed", answering(b"", "500 Internal Server Error")),
    "502 HTML": Failure(
        "upstream_failed", answering(b"<html>bad gateway", "502 Bad Gateway", Content_Type="text/html")
    ),
    "503 text": Failure("upstream_failed", answering(b"no healthy upstream", "503 Service Unavailable")),
    "400 HTML": Failure("upstream_failed", answering(b"<html>", "400 Bad Request", Content_Type="text/html")),
    "204": Failure("upstream_failed", lambda exchange: exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "HTML": Failure("bad_response", fakes.html),
    "empty": Failure("bad_response", answering(b"")),
    "invalid JSON": Failure("bad_response", fakes.invalid_json),
    "NaN literal": Failure("bad_response", fakes.nan_literal),
    "deep JSON": Failure("bad_response", fakes.deep_json),
    "not UTF-8": Failure("bad_response", fakes.not_utf8),
    "lone surrogate": Failure("bad_response", fakes.lone_surrogate),
    "no object": Failure("bad_response", fakes.no_object),
    "no status": Failure("bad_response", fakes.no_status),
    "no value": Failure("bad_response", fakes.no_value),
    "a matrix": Failure("bad_response", fakes.wrong_type("matrix", [])),
    "a scalar": Failure("bad_response", fakes.wrong_type("scalar", [1, "2"])),
    "a number of a gigabyte": Failure("bad_response", fakes.endless_number),
    "gzip that was not asked for": Failure("bad_response", fakes.good_gzip),
    "broken gzip": Failure("bad_response", fakes.broken_gzip, options=PACKED),
    "truncated gzip": Failure("bad_response", fakes.truncated_gzip, options=PACKED),
    "unknown encoding": Failure("bad_response", fakes.unknown_encoding),
    "gzip bomb": Failure("too_large", fakes.gzip_bomb, options=SMALL | PACKED),
    "endless body": Failure("too_large", fakes.endless, options=SMALL),
}
# Told by the query layer after the client has done its part, so neither counted nor an outage of the client's.
STRANGERS = {"a series nobody asked for": fakes.stranger, "a series without a part": fakes.no_part}


@contextmanager
def failing(failure: Failure) -> Iterator[tuple[str, FakeUpstream]]:
    """An upstream that fails like that, with credentials in its URL."""
    with FakeUpstream(failure.behaviour) as fake:
        port = fakes.closed_port() if failure.closed else fake.port
        yield f"{failure.scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}/prefix", fake


def guarded(url: str, failure: Failure) -> Settings:
    return Settings(
        prometheus_url=url,
        prometheus_timeout=failure.deadline,
        prometheus_headers={"X-Scope-OrgID": HEADER},
        api_tokens=(TOKEN,),
        cache_ttl=0,
        **failure.options,
    )


def assert_no_canary(*texts: object) -> None:
    for text in texts:
        assert not [canary for canary in CANARIES if canary in str(text)], str(text)[:2000]


def families(text: str) -> list[Metric]:
    return list(parse_text(text))


def own(client: TestClient, **headers: str) -> dict[str, float]:
    """Our own metrics: the value under `name` or, where there are labels, `name{...}`."""
    found = {}
    for family in families(client.get("/metrics", headers=headers).text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def outcomes(metrics: dict[str, float]) -> set[str]:
    """The outcomes of upstream requests that were counted."""
    found = (re.search(r"upstream_requests_total\{.*outcome=(\w+)", name) for name in metrics)
    return {match[1] for match in found if match}


# --------------------------------------------------------------------------- the matrix


@pytest.mark.parametrize("name", FAILURES)
def test_every_route_answers_whatever_the_upstream_does(name: str, caplog: pytest.LogCaptureFixture) -> None:
    failure = FAILURES[name]
    caplog.set_level(logging.DEBUG)
    with failing(failure) as (url, fake), TestClient(create_app(guarded(url, failure)), headers=CALLER) as client:
        seen = [assert_summary_explains(client, SENTENCES[failure.code])]
        asked_for_summary = len(fake.requests)
        seen += [
            *(assert_page_explains(client, route, SENTENCES[failure.code]) for route in TEXT_ROUTES),
            assert_openmetrics_is_empty(client),
            *assert_others_do_not_care(client),
        ]
        metrics = own(client)
        seen.append(client.get("/metrics"))

    # The fakes stall for far longer than the deadline, so an outcome of "timeout" is an answer in time. No deadline
    # is waited for twice: a group is asked at most twice, and only after an answer that came.
    if failure.code != "too_large":
        assert asked_for_summary <= GROUPS * (1 if failure.code == "timeout" else 2)
    assert metrics["gatewayz_metrics_upstream_up"] == 0
    assert metrics["gatewayz_metrics_upstream_last_success_timestamp_seconds"] == 0
    assert outcomes(metrics) == {failure.code}
    assert_no_canary(*(f"{answer.headers} {answer.text}" for answer in seen))
    assert_no_canary(caplog.text)


def assert_summary_explains(client: TestClient, sentence: str) -> Any:
    answer = get(client, "/prometheus/metrics/summary")
    document = answer.json()

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-upstream-status"] == "down"
    assert sentence in document["error"]
    assert {(section, key) for section, keys in document["metrics"].items() for key in keys} == KEYS
    assert {value for keys in document["metrics"].values() for value in keys.values()} == {"N/A"}
    return answer


def assert_page_explains(client: TestClient, route: str, sentence: str) -> Any:
    answer = get(client, f"/prometheus/metrics/{route}")
    lines = answer.text.splitlines()

    assert answer.headers["content-type"] == PLAIN
    assert answer.headers["x-upstream-status"] == "down"
    assert families(answer.text) == []
    assert len(lines) == 1
    assert lines[0].startswith("# ")
    assert sentence in lines[0]
    return answer


def assert_openmetrics_is_empty(client: TestClient) -> Any:
    answer = get(client, "/prometheus/metrics/all", accept="application/openmetrics-text")

    assert answer.headers["content-type"] == OPENMETRICS
    assert list(parse_openmetrics(answer.text)) == []
    assert answer.text == "# EOF\n"
    return answer


def assert_others_do_not_care(client: TestClient) -> list[Any]:
    docs, live, ready = (get(client, path) for path in ("/prometheus/metrics/docs", "/livez", "/readyz"))

    assert docs.headers["content-type"].startswith("text/markdown")
    assert live.json() == {"status": "ok"}
    assert ready.json()["status"] == "degraded"
    return [docs, live, ready]


def get(client: TestClient, path: str, **headers: str) -> Any:
    """An answer that came with a 200."""
    answer = client.get(path, headers=headers)

    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize("name", STRANGERS)
def test_an_answer_to_another_question_is_thrown_away(name: str) -> None:
    with FakeUpstream(STRANGERS[name]) as fake, serving(fake.url) as client:
        assert_summary_explains(client, "a series that was not asked for")
        for route in TEXT_ROUTES:
            assert_page_explains(client, route, "a series that was not asked for")


@pytest.mark.usefixtures("http_library")
@pytest.mark.parametrize(("name", "way"), list(zip(FAILURES, cycle(["basic", "bearer"]))))
def test_an_error_is_the_same_whichever_library_asks_and_holds_no_credential(name: str, way: str) -> None:
    failure = FAILURES[name]
    with failing(failure) as (url, _):
        configured = guarded(url, failure)
        if way == "bearer":
            found = configured.model_dump(exclude={"prometheus_username", "prometheus_password"})
            configured = Settings(**found | {"prometheus_bearer_token": BEARER})
        error, objects = asyncio.run(asked(configured))

    assert error.code == failure.code
    assert SENTENCES[failure.code] in error.sentence
    assert_no_canary(str(error), repr(error), error.args, vars(error), *traceback.format_exception(error))
    assert_no_canary(repr(configured), str(configured), *objects)


async def asked(configured: Settings) -> tuple[ServiceError, list[str]]:
    """What the client raises, and how the objects around it present themselves."""
    service = Service(configured, Telemetry())
    try:
        with pytest.raises(ServiceError) as caught:
            await service._upstream.instant('label_replace(vector(1),"_part","a","","")')
        parts = [service, service.layer, service.tokens, service._upstream, *vars(service._upstream).values()]
        return caught.value, [repr(part) for part in parts]
    finally:
        await service.aclose()


def test_up_says_what_the_circuit_breaker_says() -> None:
    down = answering(b"", "500 Internal Server Error")
    behaviours = [fakes.healthy, fakes.endless, *[down] * (breaker.FAILURES + 1)]
    with (
        FakeUpstream(in_turn(*behaviours)) as fake,
        serving(fake.url, cache_ttl=0, max_response_bytes=65536) as client,
    ):
        seen = []
        for _ in range(breaker.FAILURES + 2):
            client.get("/")
            seen.append(own(client)["gatewayz_metrics_upstream_up"])
        wait_until(lambda: own(client)["gatewayz_metrics_upstream_up"] == 0)

    # Neither an answer that is too large nor a failure or two means that the upstream is down.
    assert seen[: breaker.FAILURES + 1] == [1] * (breaker.FAILURES + 1)


def test_the_log_tells_the_begin_and_the_end_of_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    down = answering(b"", "500 Internal Server Error")
    with FakeUpstream(in_turn(down, down, fakes.healthy)) as fake, serving(fake.url, cache_ttl=0) as client:
        for _ in range(4):
            client.get("/prometheus/metrics/models")

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gatewayz_metrics")]
    assert ours == [
        "The upstream gives no usable answer: The upstream answers with HTTP 500; check its log.",
        "The upstream answers again.",
    ]


# --------------------------------------------------------------------------- partial failures

# What is lost together with each statistic: those that ask the same are asked once.
SHARED = {s.name: {t.name for t in CATALOGUE.statistics if t.choices == s.choices} for s in CATALOGUE.statistics}
FAMILIES = [family.name for family in CATALOGUE.families]
# The expressions that one entry needs at most, which stay in one request: a histogram's parts, of every source.
LARGEST = max(
    *(len(statistic.choices) for statistic in CATALOGUE.statistics),
    *(sum(map(len, family.choices)) for family in CATALOGUE.families),
)


def few(asked: int, groups: int, guilty: int) -> int:
    """As many requests as halving may take: two per level and guilty part, beside one per group."""
    return groups + guilty * (2 * ceil(log2(asked)) + 2)


def summary_of(client: TestClient, **params: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values under `section.key`, and the whole document."""
    document = client.get("/prometheus/metrics/summary", params=params).json()
    sections = document["metrics"].items()
    return {f"{section}.{key}": value for section, keys in sections for key, value in keys.items()}, document


def without_samples(text: str) -> set[str]:
    """The families of the catalogue that a page has no sample of."""
    found = {sample.name for family in families(text) for sample in family.samples}
    return {family.name for family in CATALOGUE.families if not {term.sample for term in family.terms} & found}


@pytest.mark.parametrize(
    "guilty",
    [["http.error_rate"], ["models.tokens_used_total"], ["http.total_requests", "database.cache_hit_rate"]],
    ids=", ".join,
)
def test_a_refused_statistic_loses_its_own_value_alone(guilty: list[str]) -> None:
    with FakeUpstream(when(asks_for(*guilty), REFUSAL)) as fake, serving(fake.url) as client:
        values, document = summary_of(client)
        metrics = own(client)
    lost = set().union(*(SHARED[name] for name in guilty))

    assert {name for name, value in values.items() if value == "N/A"} == lost
    assert set(document["errors"]) == lost
    assert all("bad_data" in reason and "a test says no" in reason for reason in document["errors"].values())
    assert "error" not in document
    assert len(fake.requests) <= few(ceil(len(SHARED) / GROUPS), GROUPS, len(guilty))
    assert metrics["gatewayz_metrics_upstream_up"] == 1
    assert metrics["gatewayz_metrics_batch_splits_total"] >= 1


@pytest.mark.parametrize("guilty", [["tokens_used_total"], [FAMILIES[0], FAMILIES[-1]]], ids=", ".join)
def test_a_refused_family_loses_its_own_block_alone(guilty: list[str]) -> None:
    with FakeUpstream(when(asks_for(*guilty), REFUSAL)) as fake, serving(fake.url) as client:
        answer = client.get("/prometheus/metrics/all")

    assert without_samples(answer.text) == set(guilty)
    assert {line.split(":")[0] for line in answer.text.splitlines() if "a test says no" in line} == {
        f"# {name}" for name in guilty
    }
    assert answer.headers["x-upstream-status"] == "ok"
    assert len(fake.requests) <= few(ceil(len(FAMILIES) / FAMILY_GROUPS), FAMILY_GROUPS, len(guilty))


def test_an_engine_that_takes_no_join_is_asked_one_by_one() -> None:
    with FakeUpstream(when(lambda request: len(request.parts) > LARGEST, REFUSAL)) as fake, serving(fake.url) as client:
        values, document = summary_of(client)
        page = client.get("/prometheus/metrics/all").text

    assert "N/A" not in values.values()
    assert not {"error", "errors"} & set(document)
    assert without_samples(page) == set()
    assert len(fake.requests) <= 2 * (len(SHARED) + len(FAMILIES))


def test_an_engine_that_refuses_everything_is_no_outage() -> None:
    with FakeUpstream(REFUSAL) as fake, serving(fake.url) as client:
        values, document = summary_of(client)
        page = client.get("/prometheus/metrics/all").text
        metrics = own(client)

    assert set(values.values()) == {"N/A"}
    assert set(document["errors"]) == set(values)
    assert families(page) == []
    assert len(page.splitlines()) == len(FAMILIES)
    assert outcomes(metrics) == {"query_refused"}
    assert metrics["gatewayz_metrics_upstream_up"] == 1


@pytest.mark.parametrize("guilty", [["tokens_used_total"], FAMILIES[::7]], ids=["one", "several"])
def test_a_family_too_large_loses_its_own_block_alone(guilty: list[str]) -> None:
    oversized = when(asks_for(*guilty, *(f"{name}_count" for name in guilty)), fakes.endless)
    with FakeUpstream(oversized) as fake, serving(fake.url, max_response_bytes=65536, cache_ttl=0) as client:
        # Twice: a large answer is no outage, so no pause may follow.
        pages = [client.get("/prometheus/metrics/all") for _ in range(2)]

    for page in pages:
        assert without_samples(page.text) == set(guilty)
        assert page.text.count("larger than 65,536 bytes") == len(guilty)
        assert page.headers["x-upstream-status"] == "partial"


def test_one_group_of_four_that_fails_takes_nothing_from_the_others() -> None:
    half_down = when(asks_for("http.error_rate"), answering(b"", "500 Internal Server Error"))
    with FakeUpstream(half_down) as fake, serving(fake.url) as client:
        values, document = summary_of(client)

    assert 0 < list(values.values()).count("N/A") < len(values)
    assert set(document["errors"]) == {name for name, value in values.items() if value == "N/A"}
    assert "error" not in document


# --------------------------------------------------------------------------- answers with a remark


def test_a_value_that_is_no_number_is_told_apart_from_zero_and_from_none() -> None:
    shown = {}
    for value in ("NaN", "+Inf", "-Inf", "0"):
        with FakeUpstream(valued(value)) as fake, serving(fake.url) as client:
            strings, _ = summary_of(client)
            numbers, _ = summary_of(client, values="number")
            page = client.get("/prometheus/metrics/business").text
        samples = [sample for family in families(page) for sample in family.samples]
        shown[value] = ({*strings.values()}, {*numbers.values()}, {str(float(sample.value)) for sample in samples})

    assert shown == {
        "NaN": ({"N/A"}, {None}, {"nan"}),
        "+Inf": ({"+Inf"}, {None}, {"inf"}),
        "-Inf": ({"-Inf"}, {None}, {"-inf"}),
        "0": ({"0", "0.00"}, {0}, {"0.0"}),
    }


def test_no_data_is_neither_an_error_nor_zero() -> None:
    with FakeUpstream(fakes.no_series) as fake, serving(fake.url) as client:
        values, document = summary_of(client)
        page = client.get("/prometheus/metrics/all")

    assert set(values.values()) == {"N/A"}
    assert set(document["absent"]) == set(values)
    assert not {"error", "errors"} & set(document)
    assert without_samples(page.text) == set(FAMILIES)
    assert {family.name for family in families(page.text)} >= {name.removesuffix("_total") for name in FAMILIES[:1]}
    assert page.headers["x-upstream-status"] == "ok"


@pytest.mark.parametrize(
    ("remark", "told"),
    [
        ({"warnings": ["a store\ndid not answer"]}, ["a store\ndid not answer"]),
        ({"warnings": ["x" * 2000]}, ["x" * 500]),
        ({"warnings": [str(n) for n in range(1000)]}, [str(n) for n in range(20)]),
        ({"isPartial": True}, ["The upstream calls its answer partial."]),
        ({"infos": ["a hint about the query"]}, []),
        ({"warnings": None}, []),
        ({"warnings": "not a list"}, []),
    ],
    ids=["warning", "long", "many", "partial", "info", "null", "text"],
)
def test_a_warning_travels_with_the_values(remark: dict[str, Any], told: list[str]) -> None:
    with FakeUpstream(valued("2", **remark)) as fake, serving(fake.url) as client:
        values, document = summary_of(client)
        page = client.get("/prometheus/metrics/models").text
        metrics = own(client)
    comments = [line for line in page.splitlines() if line.startswith("# Warning: ")]

    assert set(values.values()) == {"2", "2.00"}
    assert document.get("warnings", []) == told
    assert comments == [f"# Warning: {text}".replace("\n", r"\n") for text in told]
    assert without_samples(page) == set(FAMILIES) - {family.name for family in CATALOGUE.in_category("models")}
    assert metrics["gatewayz_metrics_upstream_warnings_total"] == len(told) * len(fake.requests)


# --------------------------------------------------------------------------- pauses and crowds


def test_an_upstream_that_keeps_failing_gets_a_pause() -> None:
    def page() -> str:
        return client.get("/prometheus/metrics/models").text

    with FakeUpstream(answering(b"", "500 Internal Server Error")) as fake, serving(fake.url, cache_ttl=0) as client:
        pages = [page() for _ in range(breaker.FAILURES)]
        wait_until(lambda: "The next attempt is in" in page())
        suspended = page()
        asked = [request.query for request in fake.requests]

    assert not any("The next attempt is in" in text for text in pages)
    # A question of its own decided; it is asked once.
    assert asked.count(PROBE.get("query") or "") == 1
    assert re.fullmatch(r"# The upstream answers with HTTP 500; .* The next attempt is in [0-5]\.\d s\.\n", suspended)


def test_an_upstream_that_asks_for_a_pause_gets_it_at_once() -> None:
    limit = answering(b"", "429 Too Many Requests", Retry_After="7")
    with FakeUpstream(limit) as fake, serving(fake.url, cache_ttl=0) as client:
        pages = [client.get("/prometheus/metrics/models").text for _ in range(3)]

    assert len(fake.requests) == 1
    assert "a pause of 7 s" in pages[0]
    assert re.search(r"The next attempt is in [0-7]\.\d s\.", pages[1])


def test_a_failure_is_not_asked_about_by_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than this test takes on any machine.
    monkeypatch.setattr(query, "_FAILURE_LIFETIME", 3600.0)
    with FakeUpstream(answering(b"", "500 Internal Server Error")) as fake, serving(fake.url, cache_ttl=3600) as client:
        pages = {client.get("/prometheus/metrics/models").content for _ in range(20)}

    assert len(fake.requests) == 1
    assert len(pages) == 1


def test_a_crowd_with_one_question_costs_one_request() -> None:
    async def crowd(url: str) -> set[int]:
        service = Service(Settings(prometheus_url=url), Telemetry())
        try:
            return {id(one) for one in await asyncio.gather(*(service.layer.families("models") for _ in range(50)))}
        finally:
            await service.aclose()

    with FakeUpstream(fakes.healthy) as fake:
        snapshots = asyncio.run(crowd(fake.url))

    assert len(fake.requests) == 1
    assert len(snapshots) == 1


# --------------------------------------------------------------------------- what reaches the upstream


def test_nothing_but_the_query_path_is_ever_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which expressions share a query goes by how long they took; here each query stays as it is.
    monkeypatch.setattr(QueryPlanner, "learn", lambda *_: None)
    words = st.text(max_size=30) | st.sampled_from(
        [
            "../../api/v1/admin/tsdb/delete_series",
            "%2e%2e/%2e%2e/-/quit",
            "http://169.254.169.254/",
            'up{a="b"}',
            "\r\nX: y",
        ]
    )
    paths = st.sampled_from([*CATALOGUE.categories, "summary", "all", "docs", ""]) | words
    names = st.sampled_from(["time", "category", "values", "query", "match[]", "url"]) | words
    times = st.sampled_from(["1760000000", "2025-12-24T12:00:00Z", "1e999", "0", "-1"]) | words
    methods = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS"])

    with FakeUpstream(fakes.healthy) as fake, serving(f"{fake.url}/prefix") as client:
        known = expressions(fake, client)

        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
        @given(methods, paths, st.dictionaries(names, times, max_size=3))
        def ask(method: str, path: str, params: dict[str, str]) -> None:
            below = "".join(
                f"%{byte:02x}" if byte < 33 or byte > 126 or byte in b"?#%" else chr(byte)
                for byte in path.encode("utf-8", "replace")
            )
            answer = client.request(method, f"/prometheus/metrics/{below}", params=params)
            assert answer.status_code < 500

        ask()
        requests = fake.requests

    assert {(request.method, request.target) for request in requests} == {("POST", "/prefix/api/v1/query")}
    assert {request.query for request in requests} <= known
    assert {key for request in requests for key in request.form} <= {"query", "time"}
    assert all(re.fullmatch(r"-?\d+(\.\d{3})?", time) for request in requests for time in request.form.get("time", []))


def expressions(fake: FakeUpstream, client: TestClient) -> set[str]:
    """Every query that our routes are meant to send."""
    for route in TEXT_ROUTES:
        client.get(f"/prometheus/metrics/{route}")
    sections = list(CATALOGUE.sections)
    for bits in range(2 ** len(sections)):
        chosen = [section for bit, section in enumerate(sections) if bits >> bit & 1]
        client.get("/prometheus/metrics/summary", params={"category": chosen})
    return {request.query for request in fake.requests}
