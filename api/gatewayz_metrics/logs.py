"""Log lines: one for each event, whatever text of callers or of the upstream is in it."""

import logging
import re

# Control characters, line ends of Unicode, signs that turn the direction of writing around, and half characters.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 2000


def printable(text: object) -> str:
    """Text from outside for a log message: nothing in it ends the line, and it is cut where it gets long.

    A host application has formatters of its own, so texts are escaped where they are logged.
    """
    return _UNPRINTABLE.sub(_escape, str(text)[:_LONGEST])


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class OneLineFormatter(logging.Formatter):
    """The stand-alone service's own formatter: a message is one line, also one of a library."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is the standard library's
        """The line of a record, its traceback aside."""
        record.message = printable(record.message)
        return super().formatMessage(record)
