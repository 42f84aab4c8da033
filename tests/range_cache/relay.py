"""A raw-socket upstream in front of a real engine: it passes questions on until it is told to misbehave."""

import http.client
import json
import select
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.fake_upstream import Behaviour, Exchange, answering


@dataclass
class Relay:
    """A behaviour: the engine's own answers, or `fault` while it is set."""

    engine: str
    fault: Behaviour | None = None
    # Set to hold answers back; each caller that goes away meanwhile is counted.
    held: threading.Event | None = None
    abandoned: list[int] = field(default_factory=list)

    def __call__(self, exchange: Exchange) -> None:
        if self.held is not None and not self._wait(exchange, self.held):
            self.abandoned.append(exchange.number)
            return
        if self.fault is not None:
            self.fault(exchange)
        else:
            exchange.reply(*self.answer(exchange))

    def answer(self, exchange: Exchange) -> tuple[bytes, str]:
        """Body and status line of the engine."""
        connection = http.client.HTTPConnection(urlsplit(self.engine).netloc, timeout=100)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request(exchange.request.method, exchange.request.target, exchange.request.body, headers)
            answer = connection.getresponse()
            return answer.read(), f"{answer.status} {answer.reason}"
        finally:
            connection.close()

    def _wait(self, exchange: Exchange, held: threading.Event) -> bool:
        """Until the answers may go; False when the caller goes first."""
        while not held.wait(0.01) and not exchange.stopped.is_set():
            gone, _, _ = select.select([exchange.connection], [], [], 0)
            if gone:
                return False
        return True

    def fail_from(self, start: str) -> None:
        """Fail the questions that begin at a time, and pass on all others."""
        failing = answering(b"", "502 Bad Gateway")
        self.fault = lambda exchange: (
            failing(exchange) if exchange.request.form["start"] == [start] else exchange.reply(*self.answer(exchange))
        )

    def with_warnings(self, exchange: Exchange) -> None:
        """The engine's answer with a remark that something may be missing."""
        body, status = self.answer(exchange)
        exchange.reply(body[:-1] + b',"warnings":["a store did not answer"]}', status)

    def partial(self, exchange: Exchange) -> None:
        """As VictoriaMetrics' cluster says it."""
        body, status = self.answer(exchange)
        exchange.reply(body[:-1] + b',"isPartial":true}', status)

    def no_store(self, exchange: Exchange) -> None:
        """The engine's answer, not to be kept."""
        body, status = self.answer(exchange)
        exchange.reply(body, status, Cache_Control="no-store")

    def off_grid(self, exchange: Exchange) -> None:
        """Every point a little early, as engines that align ranges for a cache of their own."""
        body, status = self.answer(exchange)
        document = json.loads(body)
        for series in document["data"]["result"]:
            series["values"] = [[at - 0.25, value] for at, value in series["values"]]
        exchange.reply(json.dumps(document).encode(), status)
