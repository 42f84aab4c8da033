"""The load maker takes answers of every form for what they are."""

from collections.abc import Iterator

import pytest

from tests.bench.load import NUMBER, AnswerReader, Ask, LoadMaker
from tests.support.fake_upstream import Exchange, FakeUpstream, head

BODY = b'{"x": 1}' * 1000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
ANSWERS = [pytest.param(head("200 OK", len(BODY)) + BODY, id="length"), pytest.param(CHUNKED, id="chunked")]


@pytest.fixture(scope="module")
def load() -> Iterator[LoadMaker]:
    with LoadMaker() as maker:
        yield maker


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_an_answer_ends_with_its_last_byte(answer: bytes, piece: int) -> None:
    reader = AnswerReader()
    found = [reader.feed(answer[begin : begin + piece]) for begin in range(0, len(answer), piece)]

    assert found == [False] * (len(found) - 1) + [True]
    assert reader.bytes == len(answer)


def test_another_status_is_no_answer() -> None:
    with pytest.raises(AssertionError, match="503"):
        AnswerReader().feed(head("503 Service Unavailable", 0))


def test_every_request_of_a_crowd_is_counted_and_distinct(load: LoadMaker) -> None:
    with FakeUpstream(lambda exchange: exchange.reply(BODY)) as fake:
        crowd = load.crowd(Ask(fake.url, f"/x?n={NUMBER}"), 4, 0.05)
        asked = [request.target for request in fake.requests]

    assert crowd.answers == len(asked) == len(set(asked)) >= 4


def test_a_form_is_posted(load: LoadMaker) -> None:
    with FakeUpstream(lambda exchange: exchange.reply(BODY)) as fake:
        load.ask_each([Ask(fake.url, "/x", body="query=1"), Ask(fake.url, "/y")])
        received = [(request.method, request.target, request.body) for request in fake.requests]

    assert received == [("POST", "/x", b"query=1"), ("GET", "/y", b"")]


def test_a_probe_lasts_as_long_as_what_it_watches(load: LoadMaker) -> None:
    with FakeUpstream(lambda exchange: exchange.reply(b"{}")) as fake, load.probing(Ask(fake.url, "/livez")) as waits:
        assert not waits

    assert len(waits) == len(fake.requests) >= 1


def test_a_refusal_ends_a_crowd(load: LoadMaker) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.reply(b"{}", "500 Internal Server Error")

    with FakeUpstream(refuse) as fake, pytest.raises(AssertionError, match="500"):
        load.crowd(Ask(fake.url, "/x"), 2, 1)
