"""The status page without a browser: who gets it, what it may do, and that all it asks for exists."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load

from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, answering

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PLUGIN = "application/json, text/plain, */*"
PROVISIONED = Path(__file__).parents[2] / "provisioning/grafana/datasources/gatewayz.yml"
# HTML's elements without an end tag.
VOID = {"meta", "link", "input", "path"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def page(client: TestClient) -> str:
    return client.get("/status").text


class Reader(HTMLParser):
    """The elements of a page with their attributes; every end tag must close the last open one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# --------------------------------------------------------------------------- who gets it


def test_a_browser_gets_the_page_at_the_root_and_at_status(client: TestClient, page: str) -> None:
    for path in ("/", "/status"):
        answer = client.get(path, headers={"Accept": BROWSER})

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text == page


@pytest.mark.parametrize("accept", [PLUGIN, "*/*", "application/json", "", f"application/json,{BROWSER}"])
def test_the_health_check_of_the_plugins_stays_json(accept: str) -> None:
    body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    with FakeUpstream(answering(body)) as upstream, serving(upstream.url) as client:
        answer = client.get("/", headers={"Accept": accept})

    assert answer.content == b'{"status":"ok"}'
    assert answer.headers["content-type"] == "application/json"


def test_the_root_takes_no_other_method_from_a_browser(client: TestClient) -> None:
    assert client.head("/", headers={"Accept": BROWSER}).status_code == 200
    assert client.post("/", headers={"Accept": BROWSER}).status_code == 405


def test_the_page_needs_no_token_and_its_numbers_do() -> None:
    with serving(api_tokens=("secret",)) as client:
        assert client.get("/status").status_code == 200
        assert client.get("/", headers={"Accept": BROWSER}).status_code == 200
        assert client.get("/", headers={"Accept": PLUGIN}).status_code == 401
        assert client.get("/prometheus/metrics/summary").status_code == 401


# --------------------------------------------------------------------------- what it may do


def test_the_policy_allows_its_own_script_and_style_alone(client: TestClient, page: str) -> None:
    policy = client.get("/status").headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    def hash_of(tag: str) -> str:
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(texts) == 1
        return f"'sha256-{b64encode(sha256(texts[0].encode()).digest()).decode()}'"

    assert directives == {
        "default-src": "'none'",
        "script-src": hash_of("script"),
        "style-src": hash_of("style"),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_nothing_on_it_comes_from_elsewhere(page: str) -> None:
    # The name of an XML vocabulary is no address.
    urls = set(re.findall(r"(?:https?:)?//[\w.-]+\.[\w/.-]+", page)) - {"http://www.w3.org/2000/svg"}

    assert urls == set()
    assert not re.search(r"\b(localStorage|sessionStorage|document\.cookie|eval|innerHTML)\b", page)


def test_the_html_is_well_formed_and_labelled(page: str) -> None:
    reader = Reader(page)
    identifiers = [found["id"] for _, found in reader.found if "id" in found]
    referred = {
        str(value)
        for _, attributes in reader.found
        for name, value in attributes.items()
        if name in ("for", "aria-labelledby")
    }

    assert reader.open == []
    assert len(set(identifiers)) == len(identifiers)
    assert referred <= set(identifiers)
    assert set(re.findall(r'element\("([\w-]+)"\)', page)) <= set(identifiers)
    # The policy forbids styles and handlers in attributes.
    assert not [
        tag for tag, attributes in reader.found if any(name == "style" or name.startswith("on") for name in attributes)
    ]
    assert [attributes["lang"] for tag, attributes in reader.found if tag == "html"] == ["en"]


def test_every_path_that_it_asks_for_exists(client: TestClient, page: str) -> None:
    asked = set(re.findall(r'\b(?:json|get)\("([\w/]+)"', page))

    assert asked == {"readyz", "metrics", "prometheus/metrics/summary", "prometheus/metrics/series"}
    for path in asked:
        assert client.get(f"/{path}", params={"name": "http.error_rate"}).status_code == 200


def test_every_shell_command_names_a_path_that_exists(client: TestClient, page: str) -> None:
    commands = re.findall(r"^curl .*\$GATEWAYZ_METRICS_URL(/\S*)'(.*)$", page, re.MULTILINE)

    assert len(commands) == 6
    for path, body in commands:
        method = "POST" if "-d" in body else "GET"
        assert client.request(method, path, data={"query": "up"} if body else None).status_code not in (404, 405)


def test_the_families_that_it_reads_are_measured(client: TestClient, page: str) -> None:
    read = set(re.findall(r'family\("([a-z_]+)"\)', page))
    measured = set(re.findall(r"^# TYPE gatewayz_metrics_(\w+) ", client.get("/metrics").text, re.MULTILINE))

    assert len(read) >= 9
    assert read <= measured


def test_the_statistics_of_its_lines_are_in_the_catalogue(page: str) -> None:
    charted = re.findall(r'"([\w.]+)"', re.findall(r"const CHARTED = \[(.*?)\]", page)[0])

    assert len(charted) == 4
    assert set(charted) <= {statistic.name for statistic in load().statistics}


def test_the_datasources_are_those_of_provisioning(page: str) -> None:
    shown: list[dict[str, Any]] = [
        entry for block in re.findall(r'class="yaml">(.*?)</pre>', page, re.DOTALL) for entry in yaml.safe_load(block)
    ]

    assert shown == yaml.safe_load(PROVISIONED.read_text("utf-8"))["datasources"]
