"""Every example of docs/clients.md, run over known samples as its client would run it."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.times import format_rfc3339, parse_rfc3339

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.pages import claim
from tests.support.samples import END, START

PAGE = Path(__file__).parents[1] / "docs" / "clients.md"
TEXT = PAGE.read_text("utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
BASE = "http://metrics:8000"
PRODUCTION = 'env="production"'
# What Grafana puts in place of its macros, for the hour of the samples.
MACROS = {
    "${__timeFrom:date:seconds}": str(START),
    "${__timeTo:date:seconds}": str(END),
    "$__isoFrom()": format_rfc3339(START * 1000, "milliseconds"),
    "$__isoTo()": format_rfc3339(END * 1000, "milliseconds"),
}
HOUR = f"&start={START}&end={END}&time={END}"


def blocks(section: str, language: str) -> list[str]:
    """The fenced examples of a section in a language, for a test to run; while this module is imported."""
    return [example.text for example in claim("docs/clients.md", language, section)]


[SIMPLEJSON_APP], [SIMPLEJSON_DATASOURCE] = blocks("SimpleJson", "python"), blocks("SimpleJson", "yaml")
[HOMEPAGE] = blocks("homepage", "yaml")
[PANDAS] = blocks("pandas", "python")
DATASOURCES = {
    section: block
    for section, body in SECTIONS.items()
    if "```yaml" in body and section != "homepage"
    for block in blocks(section, "yaml")
}


@pytest.fixture(scope="module")
def client(prometheus: Engine) -> Iterator[TestClient]:
    with serving(prometheus.url, selector=PRODUCTION) as found:
        yield found


def fetch(client: TestClient, url: str) -> str:
    """What a GET of an example gives, in the hour of the samples where it names none."""
    path = url.removeprefix(BASE)
    path += "" if "?" in path else "?"
    response = client.get(path if "start=" in path else path + HOUR)
    assert response.status_code == 200, response.text
    return response.text


def with_params(path: str, pairs: list[tuple[str, str]]) -> str:
    """A path with parameters, macros replaced."""
    query = "&".join(f"{key}={MACROS.get(value, value)}" for key, value in pairs)
    return f"{path}{'&' if '?' in path else '?'}{query}" if query else path


@pytest.mark.parametrize("example", blocks("curl", "console"))
def test_curl_prints_what_is_written(client: TestClient, example: str) -> None:
    command, *expected = example.splitlines()
    url = re.findall(r"'(.+)'", command)[0]

    assert fetch(client, url).replace("},{", "},\n{").splitlines()[: len(expected)] == expected


@pytest.mark.parametrize("example", blocks("Infinity", "json"))
def test_infinity_finds_its_columns(client: TestClient, example: str) -> None:
    query = json.loads(example)
    params = [(pair["key"], pair["value"]) for pair in query["url_options"]["params"]]
    text = fetch(client, with_params(query["url"], params))
    rows = json.loads(text) if query["type"] == "json" else list(csv.DictReader(io.StringIO(text)))

    assert (query["parser"], query["root_selector"]) == ("backend", "")
    assert len(rows) > 1
    for row in rows:
        for column in query["columns"]:
            assert _is_of_type(row[column["selector"]], column["type"]), (row, column)
    if query["format"] == "timeseries":
        # Infinity hands such rows to LongToWide, which needs them in the order of time, each moment and label set once.
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
        keys = [tuple(row[c["selector"]] for c in query["columns"] if c["type"] != "number") for row in rows]
        assert len(set(keys)) == len(keys)


def _is_of_type(value: object, kind: str) -> bool:
    match kind:
        case "number":
            return value is None or isinstance(value, int | float) or float(str(value)) is not None
        case "timestamp":
            return parse_rfc3339(str(value)) is not None
    return value is None or isinstance(value, str)


@pytest.mark.parametrize("example", [*blocks("JSON (simPod)", "json"), *blocks("pandas", "json")])
def test_panels_get_data_for_each_target(client: TestClient, example: str) -> None:
    body = json.loads(example)
    response = client.post("/query", json=body)

    assert response.status_code == 200, response.text
    elements = response.json()
    assert {one["refId"] for one in elements} == {target["refId"] for target in body["targets"]}
    assert all(one.get("datapoints") or one.get("rows") for one in elements)


def test_simplejson_stands_below_its_prefix(prometheus: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", prometheus.url)
    namespace: dict[str, Any] = {}
    exec(SIMPLEJSON_APP, namespace)  # noqa: S102  # the page's own example
    app = namespace["app"]
    [datasource] = yaml.safe_load(SIMPLEJSON_DATASOURCE)["datasources"]
    prefix = re.sub(r"^http://[^/]+", "", datasource["url"])
    body = {"range": {"from": str(START * 1000), "to": str(END * 1000)}, "targets": [{"target": "error_rate"}]}

    assert isinstance(app, FastAPI)
    with TestClient(app) as client:
        assert client.get(prefix, follow_redirects=False).status_code == 200
        assert client.get(f"{prefix}/").json() == {"status": "ok"}
        assert {"text": "http.error_rate", "value": "http.error_rate"} in client.post(
            f"{prefix}/search", json={"target": ""}
        ).json()
        [found] = client.post(f"{prefix}/query", json=body).json()
        assert found["target"] == "error_rate"
        assert found["datapoints"]


def test_old_names_are_those_of_the_catalogue() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", SECTIONS["SimpleJson"], re.MULTILINE))
    catalogue = load()

    assert {old: name for old, name in rows.items() if old in catalogue.aliases} == {
        old: f"`{name}`" for old, name in catalogue.aliases.items()
    }
    assert {old for old in rows if old not in catalogue.aliases} == set(catalogue.replacements)
    assert all(f"`{name}`" in rows[old] for old, name in catalogue.replacements.items())


@pytest.mark.parametrize("example", blocks("JSON API", "json"))
def test_json_api_finds_its_fields(client: TestClient, example: str) -> None:
    query = json.loads(example)
    rows = json.loads(fetch(client, with_params(query["urlPath"], query["params"])))
    columns = [_follow(rows, field["jsonPath"]) for field in query["fields"]]

    # It refuses fields of different lengths.
    assert len({len(column) for column in columns}) == 1
    assert len(columns[0]) > 1
    for field, column in zip(query["fields"], columns, strict=True):
        kind = {"time": "timestamp"}.get(field["type"], field["type"])
        assert all(_is_of_type(value, kind) for value in column)
    assert query["cacheDurationSeconds"] == 0


def _follow(rows: list[dict[str, Any]], path: str) -> list[Any]:
    found = re.fullmatch(r"\$\[\*\]\.(\w+)", path)
    assert found, path
    return [row[found[1]] for row in rows]


def test_homepage_finds_its_numbers(client: TestClient) -> None:
    [card] = yaml.safe_load(HOMEPAGE)
    widget = card["Gateway"]["widget"]
    document = json.loads(fetch(client, widget["url"]))

    for mapping in widget["mappings"]:
        assert isinstance(_descend(document, mapping["field"]), int | float), mapping
    assert widget["type"] == "customapi"


def _descend(document: Any, field: Any) -> Any:
    """Homepage's own walk: a mapping goes one key deeper, a text is the last key."""
    if isinstance(field, str):
        return document[field]
    [(key, inner)] = field.items()
    return _descend(document[key], inner)


def test_pandas_reads_a_table(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for pandas, which fetches what pandas would and wants the columns that it is told of."""
    read: list[dict[str, str]] = []

    def read_csv(url: str, *, parse_dates: list[str]) -> list[dict[str, str]]:
        read.extend(csv.DictReader(io.StringIO(fetch(client, url))))
        assert all(parse_rfc3339(row[column]) for row in read for column in parse_dates)
        return read

    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(read_csv=read_csv))
    namespace: dict[str, Any] = {}
    exec(PANDAS, namespace)  # noqa: S102  # the page's own example

    assert namespace["errors"] is read
    assert len(read) > 1


@pytest.mark.parametrize("example", blocks("Spreadsheets", "text"))
def test_each_address_gives_a_table(client: TestClient, example: str) -> None:
    urls = re.findall(rf'"({BASE}[^"]+)"', example)

    assert urls
    for url in urls:
        lines = list(csv.reader(io.StringIO(fetch(client, url))))
        assert len(lines) > 1
        assert len({len(line) for line in lines}) == 1
        assert lines[0][-1] in ("value", "reason")


@pytest.mark.parametrize("section", DATASOURCES)
def test_datasources_are_provisioning_files(section: str) -> None:
    document = yaml.safe_load(DATASOURCES[section])

    assert document["apiVersion"] == 1
    [datasource] = document["datasources"]
    assert datasource["access"] == "proxy"
    assert not datasource["url"].endswith("/")
    assert "TOKEN" in str(datasource["secureJsonData"])


def test_the_columns_are_those_of_the_answers(client: TestClient) -> None:
    row = json.loads(fetch(client, f"{BASE}/prometheus/metrics/summary?format=rows"))[0]
    point = json.loads(fetch(client, f"{BASE}/prometheus/metrics/series?name=http.error_rate&format=rows"))[0]

    assert f"[{{{', '.join(row)}}}]" in TEXT
    assert list(point) == ["time", "name", "value"]
