"""Log lines: one for each event, whatever text of callers or of the upstream is in it, and whose request it belongs to.

Lines are escaped where they are written and again where they are formatted, as a host application has formatters of
its own. Its logging configuration stays as it is: `configure_logging` is for a process of our own.
"""

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

# Control characters, line ends of Unicode, signs that turn the direction of writing around, and half characters.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 2000
# Lines of one kind within so many seconds; what is beyond is counted.
_MOST_ALIKE = 5
_ALIKE_SECONDS = 60.0
# Kinds that are counted at a time; libraries may put all of a message into its template.
_MOST_KINDS = 500

# What a line says about the request that it belongs to, such as its id: asked for only when there is a line.
RequestDescription = Callable[[], Mapping[str, str]]
_describe_request: ContextVar[RequestDescription | None] = ContextVar("gatewayz_metrics_request", default=None)


def printable(text: object) -> str:
    """Text from outside for a log message: nothing in it ends the line, and it is cut where it gets long."""
    return _UNPRINTABLE.sub(_escape, str(text)[:_LONGEST])


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def log_for_request(describe: RequestDescription) -> None:
    """Let the lines of the running request say whose they are."""
    _describe_request.set(describe)


def configure_logging(form: str, level: str, *, worker: str = "") -> None:
    """Log everything of this process as `text` or `json` on standard error, from a level on.

    Of several worker processes each names itself. A line that cannot be written, as to a full disk, is lost and stops
    nothing.
    """
    fields = {"worker": worker} if worker else {}
    handler = SparingHandler()
    handler.setFormatter(JsonFormatter(fields) if form == "json" else TextFormatter(fields))
    logging.basicConfig(handlers=[handler], level=level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, message, and whose request it is."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        """`fields` stand in every line."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._fields = dict(fields or {})

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  # logging's signature
        """The time as RFC 3339 has it, in UTC."""
        return _format_time(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is the standard library's
        """The line of a record, its traceback aside."""
        record.message = printable(record.message)
        fields = " ".join(f"{name}={value!r}" for name, value in (self._fields | _request_fields()).items())
        return super().formatMessage(record) + (f" [{fields}]" if fields else "")


class JsonFormatter(logging.Formatter):
    """A line for programs: one JSON object, a traceback included."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        """`fields` stand in every line."""
        super().__init__()
        self._fields = dict(fields or {})

    def format(self, record: logging.LogRecord) -> str:
        """The object of a record."""
        line = {
            "time": _format_time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
            **self._fields,
            **_request_fields(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _format_time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_fields() -> dict[str, str]:
    describe = _describe_request.get()
    return {name: printable(value) for name, value in describe().items()} if describe is not None else {}


@dataclass
class _Alike:
    """Lines of one kind, in the period that began at `begun` (monotonic seconds)."""

    record: logging.LogRecord
    begun: float
    lines: int = 0


class SparingHandler(logging.StreamHandler[TextIO]):
    """Writes a few lines of one kind within a minute, and then one that says how many more there were.

    A kind is a logger, a level and a message before anything is put into it. What was left out is said before the next
    line of whatever kind once the minute is over, or at the end.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, int, str], _Alike] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        now = self._clock()
        self._end_periods(now - _ALIKE_SECONDS)
        kind = (record.name, record.levelno, str(record.msg))
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Alike(record, now)
            if len(self._kinds) > _MOST_KINDS:
                self._tell(self._kinds.popitem(last=False)[1])
        found.lines += 1
        if found.lines <= _MOST_ALIKE:
            super().emit(record)

    def close(self) -> None:
        """Say what was left out, at the end."""
        self._end_periods(float("inf"))
        super().close()

    def _end_periods(self, begun_before: float) -> None:
        # In the order of their beginnings.
        while self._kinds and next(iter(self._kinds.values())).begun <= begun_before:
            self._tell(self._kinds.popitem(last=False)[1])

    def _tell(self, alike: _Alike) -> None:
        if (more := alike.lines - _MOST_ALIKE) > 0:
            first = alike.record
            text = f"{more:,} more lines like this were left out: {printable(first.getMessage())}"
            line = logging.LogRecord(first.name, first.levelno, first.pathname, first.lineno, text, None, None)
            # Of no request: whoever logs now has nothing to do with it.
            Context().run(super().emit, line)
