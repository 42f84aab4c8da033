"""Log lines that tell, at three in the morning, what happened to whose request, and are few."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.host_settings import read_host_settings, warn_of_unknown_settings
from gatewayz_metrics.logs import JsonFormatter, SparingHandler, TextFormatter
from gatewayz_metrics.settings import read_settings

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, answering

TOKEN = "a-token-that-no-line-holds"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Output:
    """A logger with our handler, and what it wrote."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        self.handler = SparingHandler(self.stream, self.clock)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def output() -> Iterator[Output]:
    found = Output()
    root = logging.getLogger()
    root.addHandler(found.handler)
    yield found
    root.removeHandler(found.handler)


ERROR = answering(fakes.error_body("bad_data", "no\nERROR root: forged"), "400 Bad Request")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_says_whose_request_it_is(output: Output, form: str) -> None:
    """M12: time, level, request id, surface, route and principal, on one line, without the token."""
    output.handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    with FakeUpstream(ERROR) as fake, serving(fake.url, api_tokens=(TOKEN,)) as client:
        headers = {"X-API-Key": TOKEN, "X-Request-Id": "panel-7", "X-Grafana-User": "ann\nERROR root: forged"}
        client.get("/prometheus/metrics/summary", headers=headers)

    # Of all the batches that failed, the first.
    line = next(line for line in output.lines if "No value for" in line)
    assert all(re.match(r"\{|\d{4}-", line) for line in output.lines)
    assert TOKEN not in output.stream.getvalue()
    if form == "json":
        found = json.loads(line)
        principal = found.pop("principal")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
        assert found.pop("message").startswith("No value for ")
        assert found == {
            "level": "warning",
            "logger": "gatewayz_metrics.query",
            "request_id": "panel-7",
            "surface": "metrics",
            "route": "/prometheus/metrics/summary",
        }
    else:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING gatewayz_metrics\.query: No value for ", line)
        fields = re.search(r"request_id='panel-7' surface='metrics' route='(.*)' principal=['\"](.*)['\"]\]$", line)
        assert fields is not None
        principal = fields[2]
    assert re.match(r"token [0-9a-f]{8} user ann", principal)


def test_a_traceback_is_part_of_the_object(output: Output) -> None:
    output.handler.setFormatter(JsonFormatter())
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("lib").exception("It failed: %s", "x\u2028y")

    [line] = output.lines
    assert json.loads(line)["message"] == r"It failed: x\u2028y"
    assert "ZeroDivisionError" in json.loads(line)["traceback"]


def test_a_thousand_alike_are_a_few_lines_and_a_count(output: Output) -> None:
    """M12: one line per event, and not one per garbage connection."""
    log = logging.getLogger("lib")
    for number in range(1000):
        log.warning("Connection %d was garbage.", number)
    log.warning("Something else.")
    before = len(output.lines)
    output.clock.now += 61
    log.warning("Later.")

    assert before == 6
    assert output.lines[6:] == ["995 more lines like this were left out: Connection 0 was garbage.", "Later."]


def test_what_was_left_out_is_said_at_the_end(output: Output) -> None:
    for number in range(7):
        logging.getLogger("lib").warning("Garbage %d.", number)
    output.handler.close()

    assert output.lines[-1] == "2 more lines like this were left out: Garbage 0."


def test_the_kinds_that_are_counted_are_few(output: Output) -> None:
    for number in range(5000):
        logging.getLogger("lib").warning(f"No template {number}.")

    assert len(output.lines) == 5000
    assert len(output.handler._kinds) == 500


def test_an_outage_with_many_requests_is_a_few_lines(output: Output) -> None:
    down = answering(b"", "500 Internal Server Error")
    with FakeUpstream(down) as fake, serving(fake.url, cache_ttl=0) as client:
        for number in range(200):
            client.get(f"/api/v1/query?query=up%2B{number}")

    assert 1 <= len(output.lines) < 10


# --------------------------------------------------------------------------- the request's id


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/readyz", 200),
        ("/prometheus/metrics/summary", 200),
        ("/prometheus/metrics/docs", 200),
        ("/api/v1/query?query=up", 200),
        ("/api/v1/nothing", 404),
        ("/prometheus/metrics/summary?time=soon", 400),
        ("/nothing/at/all", 404),
    ],
)
def test_every_answer_carries_one_request_id(path: str, status: int) -> None:
    with FakeUpstream(fakes.healthy) as fake, serving(fake.url) as client:
        given = client.get(path, headers={"X-Request-Id": "panel-7"})
        made = [client.get(path, headers={"X-Request-Id": odd}) for odd in ("a b", "x" * 65, "")]

    assert given.status_code == status
    assert given.headers.get_list("x-request-id") == ["panel-7"]
    ids = [answer.headers["x-request-id"] for answer in made]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", found) for found in ids)


def test_a_host_sends_ids_of_its_own() -> None:
    app = FastAPI()
    with FakeUpstream(fakes.healthy) as fake:
        setup_prometheus_routes(app, settings=Settings(prometheus_url=fake.url))
        with TestClient(app) as client:
            answers = [client.get(f"/prometheus/metrics/{path}") for path in ("summary", "summary?time=soon")]

    assert ["x-request-id" in answer.headers for answer in answers] == [False, True]


# --------------------------------------------------------------------------- settings


def test_a_line_that_cannot_be_written_stops_nothing() -> None:
    """Low: standard output and standard error on a full disk."""
    text = (
        "import logging; from gatewayz_metrics.logs import configure_logging; configure_logging('json', 'info');"
        "logging.getLogger('x').info('lost')"
    )
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", text], stderr=full, stdout=full, check=False, timeout=60)
    shell = ["/bin/sh", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, text]
    closed = subprocess.run(shell, check=False, timeout=60)

    assert (done.returncode, closed.returncode) == (0, 0)


def test_format_and_level_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", " JSON")
    monkeypatch.setenv("LOG_LEVEL", "Warning")
    assert (read_settings().log_format, read_settings().log_level) == ("json", "warning")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(ConfigurationError, match="LOG_LEVEL cannot be used"):
        read_settings()


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("API_TOKEN", "API_TOKEN (API_TOKENS?)"),
        ("PROMETHEUS_URI", "PROMETHEUS_URI (PROMETHEUS_URL?)"),
        ("PROMETHEUS_USER", "PROMETHEUS_USER (PROMETHEUS_USERNAME?)"),
        ("TENANT", "TENANT (TENANTS?)"),
        ("CATALOG", "CATALOG (CATALOGUE?)"),
        (
            "GATEWAYZ_METRICS_SELECTOR",
            "GATEWAYZ_METRICS_SELECTOR (that is its name inside a host application; here it is SELECTOR)",
        ),
    ],
)
def test_what_looks_like_a_setting_is_named_at_the_start(
    variable: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """M11: a typing error is not ignored without a word."""
    monkeypatch.setenv(variable, "secret-value")
    warn_of_unknown_settings()

    [line] = [record.getMessage() for record in caplog.records]
    assert line == f"Not read, for there is no setting of that name: {said}."


def test_the_applications_start_names_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("API_TOKEN", "x")
    with TestClient(create_app()):
        pass

    assert "API_TOKEN (API_TOKENS?)" in caplog.text


def test_what_others_have_in_the_environment_is_theirs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "PROMETHEUS_PORT",
        "PROMETHEUS_SERVICE_HOST",
        "PROMETHEUS_MULTIPROC_DIR",
        "PROMETHEUS_BIN",
        "HOSTNAME",
    ):
        monkeypatch.setenv(name, "x")
    for name in ("GATEWAYZ_METRICS_TOKEN", "prometheus_url", "LOGNAME", "HOME"):
        monkeypatch.setenv(name, "http://x:1")
    warn_of_unknown_settings()

    assert not caplog.records


def test_in_a_host_only_names_with_the_prefix_are_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("API_TOKEN", "x")
    monkeypatch.setenv("GATEWAYZ_METRICS_API_TOKEN", "x")
    monkeypatch.setenv("GATEWAYZ_METRICS_COLOUR", "x")
    read_host_settings()

    assert [record.getMessage() for record in caplog.records] == [
        "Not read, for there is no setting of that name: "
        "GATEWAYZ_METRICS_API_TOKEN (GATEWAYZ_METRICS_API_TOKENS?), GATEWAYZ_METRICS_COLOUR."
    ]
