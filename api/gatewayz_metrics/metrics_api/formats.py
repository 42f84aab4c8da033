"""The forms of an answer that holds numbers: JSON objects, flat rows of JSON, or CSV."""

import csv
import io
from collections.abc import Iterable
from enum import StrEnum

from starlette.datastructures import QueryParams

from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.errors import InvalidParameter

# A spreadsheet takes a cell that begins with one of these for a formula,
# https://owasp.org/www-community/attacks/CSV_Injection.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class DataFormat(StrEnum):
    """The form of an answer."""

    JSON = "json"
    ROWS = "rows"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        """Its content type."""
        return "text/csv; charset=utf-8" if self is DataFormat.CSV else "application/json"


FORMAT = {
    "name": "format",
    "in": "query",
    "description": "`json` is an object, `rows` a flat JSON array, `csv` the same rows as CSV with a header.",
    "schema": {"enum": [form.value for form in DataFormat], "default": DataFormat.JSON.value},
}


@remember_short(512)
def parse_data_format(query_string: bytes) -> DataFormat:
    """The form that a query string asks for. Raises InvalidParameter with a sentence."""
    text = QueryParams(query_string).get("format") or DataFormat.JSON
    try:
        return DataFormat(text)
    except ValueError:
        known = ", ".join(DataFormat)
        raise InvalidParameter(f"The parameter format cannot be {text!r:.100}; there are {known}.") from None


def render_csv_line(cells: Iterable[str]) -> str:
    """One line of CSV as RFC 4180 has it, its end included."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def escape_formula(text: str) -> str:
    """A text that no spreadsheet evaluates: an apostrophe stands before what would begin a formula.

    For texts that are not our own, such as an engine's message or a label value; numbers stay as they are.
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
