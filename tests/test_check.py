"""The acceptance check: it passes a service that answers, and no service that only says it does."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from gatewayz_demo import history, processes
from gatewayz_demo.simulator import Simulator
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.check import Check, Finding

from tests.support import fake_upstream as fakes
from tests.support import samples
from tests.support.fake_upstream import FakeUpstream
from tests.support.server import listening, running

CATALOGUE = load()
NOW = "now, whenever that is"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine whose samples end now."""
    data = tmp_path_factory.mktemp("fresh")
    begin = int(time.time()) // samples.STEP * samples.STEP - 3600
    processes.backfill(samples.openmetrics(data / "fresh.om", start=begin), data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as engine:
        yield engine.url


@pytest.fixture(scope="module")
def healthy(fresh: str) -> Iterator[str]:
    """The service over that engine."""
    with running(create_app(Settings(prometheus_url=fresh, selector='env="production"')), listening()) as url:
        yield url


def check(url: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "gatewayz_metrics", "check", url, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def failures(url: str) -> set[tuple[str, str]]:
    code, text = check(url, "--json")
    report = json.loads(text)
    failed = {(f["route"], f["what"]) for f in report["findings"] if not f["ok"]}
    assert code == (1 if failed else 0)
    assert report["ok"] is (not failed)
    return {failure for failure in failed if failure[1] != "latency"}  # shared machines are slow at times


def test_a_healthy_service_passes(healthy: str) -> None:
    assert failures(healthy) == set()


def test_the_other_surfaces_are_asked(healthy: str) -> None:
    _, text = check(healthy, "--json")
    findings = {(f["route"], f["what"]): f for f in json.loads(text)["findings"]}

    for path in ("status/buildinfo", "query", "query_range", "labels"):
        assert findings["/api/v1", path]["detail"].startswith("HTTP 200"), path
    for path in ("/", "/search", "/query"):
        assert findings["json", path]["detail"].startswith("HTTP 200"), path


def test_a_deployment_of_the_real_gateway_passes(tmp_path: Path) -> None:
    now = time.time()
    with (tmp_path / "history.om").open("w", encoding="utf-8") as file:
        history.write_history(file, Simulator(epoch=now - 1200), since=now - 1200, until=now)
    processes.backfill(tmp_path / "history.om", tmp_path / "tsdb")
    with (
        processes.start_prometheus(tmp_path / "tsdb") as engine,
        running(create_app(Settings(prometheus_url=engine.url)), listening()) as url,
    ):
        assert failures(url) == set()
        assert "trial_active" in check(url, "--json")[1]


def test_a_category_without_any_series_is_no_failure(tmp_path: Path) -> None:
    found = [series for series in samples.deployments() if series.labels["env"] == "bare"]
    begin = int(time.time()) // samples.STEP * samples.STEP - 3600
    processes.backfill(samples.openmetrics(tmp_path / "bare.om", start=begin, found=found), tmp_path / "tsdb")
    with (
        processes.start_prometheus(tmp_path / "tsdb") as engine,
        running(create_app(Settings(prometheus_url=engine.url)), listening()) as url,
    ):
        assert failures(url) == set()


def test_watching_repeats(healthy: str) -> None:
    command = [sys.executable, "-m", "gatewayz_metrics", "check", healthy, "--watch", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        titles = (line for line in watching.stdout if " pass, " in line)
        assert [next(titles), next(titles)]
        watching.kill()


def hosted(upstream: str) -> FastAPI:
    """A host with a catch-all, where the Prometheus API and the JSON datasource are below prefixes."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def anything(path: str) -> dict[str, str]:
        return {"status": "success", "page": path}

    settings = Settings(prometheus_url=upstream, selector='env="production"')
    setup_prometheus_routes(app, settings=settings, prometheus_api="/prometheus", json_datasource="/grafana")
    return app


def test_what_a_host_serves_elsewhere_is_looked_for_there(fresh: str) -> None:
    with running(hosted(fresh), listening()) as url:
        at_root = json.loads(check(url, "--json")[1])["findings"]
        told = ("--prometheus-api", "/prometheus/", "--json-datasource", "/grafana")
        there = json.loads(check(url, "--json", *told)[1])["findings"]
        wrong = json.loads(check(url, "--json", "--prometheus-api", "/elsewhere")[1])["findings"]

    # The host's own pages at the root are no surfaces of ours that went wrong.
    found = {finding["route"]: finding for finding in at_root}
    assert (found["/api/v1"]["detail"], found["json"]["detail"]) == ("not served here", "not served here")
    assert [f for f in (*at_root, *there) if not f["ok"] and f["what"] != "latency"] == []
    assert [f["what"] for f in there if f["route"] == "json"] == ["/", "/search", "/query"]
    assert {f["ok"] for f in wrong if f["route"] == "/api/v1"} == {False}


def test_a_token_that_nobody_asks_for_is_a_failure(healthy: str) -> None:
    _, text = check(healthy, "--json", "--token", "s3cret")
    findings = {(f["route"], f["what"]): f["ok"] for f in json.loads(text)["findings"]}

    assert not findings["token", "is required"]


def test_the_table_is_for_people(healthy: str) -> None:
    _, text = check(healthy)

    assert "pass" in text
    assert "summary" in text
    assert "│" in text


def liar(change: Callable[[str, str], str]) -> FastAPI:
    """A service that answers 200 to everything, with bodies of its own making."""
    app = FastAPI()
    pages = {name: "\n".join(_page(name)) + "\n" for name in (*CATALOGUE.categories, "all")}
    pages["summary"] = json.dumps({"timestamp": NOW, "metrics": _metrics("1")})
    pages["docs"] = "\n".join(f"`{e.name}`" for e in (*CATALOGUE.families, *CATALOGUE.statistics))

    @app.get("/prometheus/metrics/{name}")
    async def answer(name: str) -> Response:
        kinds = {"summary": "application/json", "docs": "text/markdown"}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return Response(change(name, pages[name]).replace(NOW, now), media_type=kinds.get(name, "text/plain"))

    return app


def _page(name: str) -> Iterator[str]:
    for family in CATALOGUE.in_category(None if name == "all" else name):
        yield f"# HELP {family.name} {family.help}"
        yield f"# TYPE {family.name} {family.type}"
        if family.type in ("counter", "gauge"):
            yield f"{family.name} 1"
        else:
            yield from (f"{family.name}_sum 1", f"{family.name}_count 1")


def _metrics(value: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for statistic in CATALOGUE.statistics:
        found.setdefault(statistic.section, {})[statistic.key] = value
    return found


def _only(page: str, before: str, after: str) -> Callable[[str, str], str]:
    return lambda name, body: body.replace(before, after) if name == page else body


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (lambda _name, body: body, set()),
        (_only("summary", '"1"', '"N/A"'), {("summary", "has values")}),  # what the old module did for months
        (_only("summary", NOW, "2025-12-24T12:00:00Z"), {("summary", "is fresh")}),
        (_only("summary", '"error_rate"', '"errors_rate"'), {("summary", "sections and keys")}),
        (_only("summary", '"metrics"', '"error": "no Prometheus", "metrics"'), {("summary", "upstream answers")}),
        (_only("summary", "{", "<html>"), {("summary", "is the summary")}),
        (lambda name, body: "" if name == "system" else body, {("system", "families"), ("system", "upstream answers")}),
        (_only("models", "tokens_used_total 1", 'tokens_used_total{a=" 1'), {("models", "parses")}),
        (_only("business", "trial_active", "trials_active"), {("business", "families")}),
        (
            lambda name, body: body + body.replace("# HELP", "# HELP ") if name == "all" else body,
            {("all", "parses")},
        ),
        (_only("docs", "`http.error_rate`", ""), {("docs", "documents everything")}),
    ],
    ids=["honest", "all N/A", "stale", "key", "outage", "html", "empty", "broken", "absent", "doubled", "undocumented"],
)
def test_lies_are_caught(change: Callable[[str, str], str], caught: set[tuple[str, str]]) -> None:
    with running(liar(change), listening()) as url:
        assert failures(url) == caught


def test_nobody_there_is_told_once() -> None:
    with listening() as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    [finding] = json.loads(check(url, "--json")[1])["findings"]

    assert (finding["route"], finding["what"], finding["ok"]) == ("service", "answers", False)
    assert finding["detail"].startswith(f"{url} cannot be reached (")
    assert finding["detail"].endswith("); check the URL and that the service runs.")


def test_a_service_that_hangs_is_waited_for_once() -> None:
    with FakeUpstream(fakes.hang) as fake, httpx.Client(base_url=fake.url, timeout=0.2, trust_env=False) as client:
        [finding] = Check(client, CATALOGUE).run()
        url = fake.url

    assert finding == Finding("service", "answers", ok=False, detail=f"{url} does not answer within 0.2 s.")


def test_a_token_is_shown() -> None:
    app = create_app(Settings(prometheus_url="http://127.0.0.1:9", api_tokens="s3cret"))
    with running(app, listening()) as url:
        [without] = json.loads(check(url, "--json")[1])["findings"]
        [wrong] = json.loads(check(url, "--json", "--token", "other")[1])["findings"]
        _, text = check(url, "--json", "--token", "s3cret")

    assert (without["ok"], without["detail"]) == (False, "It asks for a token: --token, or API_TOKEN.")
    assert (wrong["ok"], wrong["detail"]) == (False, "It does not accept this token.")
    findings = {(f["route"], f["what"]): f["ok"] for f in json.loads(text)["findings"]}
    assert findings["docs", "answers"]
    assert findings["token", "is required"]


@pytest.mark.parametrize(("url", "sentence"), [("localhost:8000", "is not a URL such as http://localhost:8000")])
def test_a_wrong_argument_is_a_sentence(url: str, sentence: str) -> None:
    code, text = check(url)

    assert code == 1
    assert sentence in text
    assert "Traceback" not in text
