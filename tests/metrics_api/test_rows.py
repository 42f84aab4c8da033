"""The summary as flat rows: the same numbers, one row each, in JSON and CSV."""

import csv
import io
from typing import Any

import pytest
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.metrics_api.formats import escape_formula

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering, error_body, valued
from tests.support.samples import END

CATALOGUE = load()
SUMMARY = "/prometheus/metrics/summary"
COLUMNS = ["section", "key", "value", "unit", "reason"]


def read(url: str, form: str, **settings: object) -> tuple[Any, dict[str, str], str]:
    """The summary in one form: its rows, its headers and its text."""
    with serving(url, **settings) as client:
        response = client.get(SUMMARY, params={"time": END, "format": form})
    assert response.status_code == 200
    rows = list(csv.DictReader(io.StringIO(response.text))) if form == "csv" else response.json()
    return rows, dict(response.headers), response.text


@pytest.mark.parametrize("env", ["production", "bare", "idle", "nowhere"])
def test_rows_are_the_summary(engine: Engine, env: str) -> None:
    selector = f'env="{env}"'
    document, _, _ = read(engine.url, "json", selector=selector)
    rows, headers, text = read(engine.url, "rows", selector=selector)

    assert headers["content-type"] == "application/json"
    assert headers["x-upstream-status"] == "ok"
    assert [f"{row['section']}.{row['key']}" for row in rows] == [one.name for one in CATALOGUE.statistics]
    for row, statistic in zip(rows, CATALOGUE.statistics, strict=True):
        shown = document["metrics"][row["section"]][row["key"]]
        assert list(row) == COLUMNS
        assert row["unit"] == statistic.unit
        assert row["value"] == (None if shown == "N/A" else float(shown))
        assert row["reason"] == document.get("absent", {}).get(statistic.name)
        # Every digit, as the summary writes it.
        assert shown == "N/A" or f'"value":{shown},' in text


def test_csv_has_the_same_cells(engine: Engine) -> None:
    rows, _, _ = read(engine.url, "rows", selector='env="bare"')
    lines, headers, text = read(engine.url, "csv", selector='env="bare"')

    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert text.startswith(",".join(COLUMNS) + "\r\n")
    assert text.count("\r\n") == text.count("\n") == len(rows) + 1
    for row, line in zip(rows, lines, strict=True):
        assert line["value"] == "" if row["value"] is None else float(line["value"]) == row["value"]
        assert line["reason"] == (row["reason"] or "")
        assert [line[name] for name in ("section", "key", "unit")] == [row[name] for name in ("section", "key", "unit")]


def test_a_large_count_keeps_its_digits() -> None:
    with FakeUpstream(valued("9007199254740993")) as upstream:
        _, _, text = read(upstream.url, "rows")

    assert '"key":"total_requests","value":9007199254740993,' in text


def test_an_infinity_is_no_number_and_says_so() -> None:
    with FakeUpstream(valued("+Inf")) as upstream:
        rows, _, _ = read(upstream.url, "rows")

    assert {row["value"] for row in rows} == {None}
    assert {row["reason"] for row in rows} == {"The value is +Inf, which is no number in JSON."}


@pytest.mark.parametrize("form", ["rows", "csv"])
def test_in_an_outage_every_row_has_its_reason(form: str) -> None:
    rows, headers, _ = read("http://127.0.0.1:9", form)

    assert headers["x-upstream-status"] == "down"
    assert len(rows) == len(CATALOGUE.statistics)
    assert all(not row["value"] and "127.0.0.1:9 cannot be reached" in row["reason"] for row in rows)


def test_a_category_narrows_rows(prometheus: Engine) -> None:
    with serving(prometheus.url) as client:
        rows = client.get(SUMMARY, params={"format": "rows", "category": ["database", "http"]}).json()

    assert list(dict.fromkeys(row["section"] for row in rows)) == ["http", "database"]


def test_each_form_is_kept_apart_in_the_cache(prometheus: Engine) -> None:
    with serving(prometheus.url) as client:
        found = [client.get(SUMMARY, params={"time": END, "format": form}).text for form in ("csv", "json", "rows")]
        again = [client.get(SUMMARY, params={"time": END, "format": form}).text for form in ("csv", "json", "rows")]
        default = client.get(SUMMARY, params={"time": END}).text

    assert len(set(found)) == len(found)
    assert found == again
    assert default == found[1]


def test_an_unknown_form_is_refused() -> None:
    with serving() as client:
        response = client.get(SUMMARY, params={"format": "xml"})

    assert response.status_code == 400
    assert response.json() == {
        "error": "The parameter format cannot be 'xml'; there are json, rows, csv.",
        "code": "invalid_parameter",
    }


def test_an_engines_words_are_quoted_and_start_no_formula() -> None:
    words = '=HYPERLINK("http://x"), and\nmore'
    with FakeUpstream(answering(error_body("bad_data", words), "400 Bad Request")) as upstream:
        rows, _, _ = read(upstream.url, "csv")

    assert all(words in row["reason"] for row in rows)
    assert not any(row["reason"].startswith(("=", "+", "-", "@")) for row in rows)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_formula_is_made_a_text(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "requests", "a=1", "'=1"])
def test_other_texts_stay(text: str) -> None:
    assert escape_formula(text) == text


@pytest.mark.parametrize("form", ["rows", "csv"])
def test_head_has_the_headers_of_get(prometheus: Engine, form: str) -> None:
    with serving(prometheus.url) as client:
        got = client.get(SUMMARY, params={"format": form, "time": END})
        head = client.head(SUMMARY, params={"format": form, "time": END})

    assert head.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]


def test_the_schema_describes_the_forms() -> None:
    with serving() as client:
        paths = client.get("/openapi.json").json()["paths"]

    for path in ("summary", "series"):
        parameters = {one["name"]: one for one in paths[f"/prometheus/metrics/{path}"]["get"]["parameters"]}
        assert parameters["format"]["schema"] == {"enum": ["json", "rows", "csv"], "default": "json"}
        assert all(one["description"] for one in parameters.values())
