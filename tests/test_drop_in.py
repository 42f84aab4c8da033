"""The page for hosts: its code runs as it stands there, and the test script of the GatewayZ stack passes against it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_demo import processes
from gatewayz_metrics import Settings, setup_prometheus_routes
from gatewayz_metrics.host_settings import PREFIX
from prometheus_client import REGISTRY

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream
from tests.support.pages import claim
from tests.support.server import listening, running

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "drop-in.md").read_text("utf-8")
MODULE, OPTION_A, OPTION_B, INSTRUMENTATOR, MIDDLEWARE = (each.text for each in claim("docs/drop-in.md", "python"))
[EXPORT] = claim("docs/drop-in.md", "console")
SCRIPT = (REPOSITORY / "tests" / "check_endpoints.sh").read_text("utf-8")
# For a machine without them; the script needs no more of either.
STAND_INS = {
    "curl": "import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[-1]).read())",
    "jq": "import json, sys; print(json.dumps(json.load(sys.stdin), indent=2))",
}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what the script calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, code in STAND_INS.items():
        if not shutil.which(name):
            (folder / f"{name}.py").write_text(code)
            (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/{name}.py" "$@"\n')
            (folder / name).chmod(0o755)
    return folder


@pytest.fixture(params=[OPTION_A, OPTION_B], ids=["option A", "option B"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """A backend in the folders that the page names."""
    services = tmp_path / "app" / "services"
    services.mkdir(parents=True)
    (services / "prometheus_metrics.py").write_text(MODULE)
    (tmp_path / "app" / "main.py").write_text(request.param)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "app", raising=False)
    if "on_event" in request.param:
        with pytest.warns(DeprecationWarning, match="on_event"):
            found = importlib.import_module("app.main").app
    else:
        found = importlib.import_module("app.main").app
    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


def test_the_script_passes(
    backend: FastAPI, tools: Path, prometheus: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", prometheus.url)
    with running(backend, listening()) as url:
        script = tmp_path / "check.sh"
        script.write_text(SCRIPT.replace("http://localhost:8000", url))
        done = subprocess.run(  # the script above
            [shutil.which("bash") or "/bin/sh", str(script)],
            env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=True,
        )

    lines = done.stdout.splitlines()
    assert [line for line in lines if line.strip() in ("PASS", "FAIL")] == ["  PASS"] * 8
    assert lines[-1] == "All tests completed!"
    # The script is content with nothing at all; a page has lines.
    assert [int(line) > 5 for line in lines if line.strip().isdigit()] == [True] * 7


def test_the_stand_ins_do_what_the_script_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(fakes.answering(b'{"a": 1}')) as fake:
        for name, code in STAND_INS.items():
            (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("no_proxy", "*")
        fetched = subprocess.run(  # our own code
            [sys.executable, str(tmp_path / "curl.py"), "-s", fake.url], capture_output=True, check=True
        ).stdout
    jq = [sys.executable, str(tmp_path / "jq.py"), "."]

    assert fetched == b'{"a": 1}'
    assert subprocess.run(jq, input=fetched, capture_output=True, check=False).returncode == 0  # ours
    assert subprocess.run(jq, input=b"<html>", capture_output=True, check=False).returncode != 0  # ours


def test_the_page_names_what_a_host_reads() -> None:
    shared = re.search(r"^\| without it too \|(.*)\|$", PAGE, re.MULTILINE)
    never = re.search(r"^\| never \|(.*)\|$", PAGE, re.MULTILINE)

    assert shared is not None
    assert never is not None
    assert {name.lower() for name in re.findall(r"`([A-Z_]+)`", shared[1])} <= Settings.model_fields.keys()
    assert re.findall(r"`([A-Z_]+)`", never[1]) == ["HOST", "PORT", "CORS_ORIGINS", "LOG_FORMAT", "LOG_LEVEL"]
    assert f"`{PREFIX}`" in PAGE


# --------------------------------------------------------------------------- our own requests in the host's numbers


def host() -> FastAPI:
    """A host that serves everything of ours below one prefix, and one page of its own."""
    app = FastAPI()
    settings = Settings(prometheus_url="http://127.0.0.1:9")
    setup_prometheus_routes(
        app, settings=settings, prometheus_api="/prometheus", json_datasource="/prometheus/datasource"
    )

    @app.get("/v1/models")
    async def models() -> str:
        return "the host's"

    return app


VISITS = (
    "/v1/models",
    "/prometheus/metrics/summary",
    "/prometheus/metrics/system",
    "/prometheus/api/v1/query?query=up",
    "/prometheus/datasource/",
)


def test_the_middleware_of_the_page_counts_the_host_alone() -> None:
    namespace: dict[str, object] = {}
    exec(MIDDLEWARE, namespace)  # noqa: S102  # the page's own example
    app = host()
    app.add_middleware(namespace["CountRequests"])  # type: ignore[arg-type]  # out of the page
    client = TestClient(app)
    for path in VISITS:
        client.get(path)
    counter = namespace["REQUESTS"]
    REGISTRY.unregister(counter)  # type: ignore[arg-type]  # out of the page
    samples = [sample for family in counter.collect() for sample in family.samples]  # type: ignore[attr-defined]  # as above

    assert {sample.labels["path"] for sample in samples} == {"/v1/models"}


def test_the_patterns_of_the_page_name_every_route_of_ours() -> None:
    # The instrumentator searches the template of the route for each pattern, or the path where there is none.
    patterns = re.findall(r'"(\^[^"]+)"', INSTRUMENTATOR)
    schema = host().openapi()["paths"]
    kept = {path for path in (*schema, *VISITS) if not any(re.search(pattern, path) for pattern in patterns)}

    assert len(patterns) == 1
    assert kept == {"/v1/models"}


SELECTORS = re.findall(r"'?(path!~\"[^\"]+\")", PAGE)
START = 1_760_000_000


def test_the_selector_of_the_page_survives_the_shell() -> None:
    [line] = EXPORT.commands
    typed = ["/bin/sh", "-c", f"{line}; printenv GATEWAYZ_METRICS_SELECTOR"]
    done = subprocess.run(typed, capture_output=True, text=True, check=True)  # the page's own line

    assert done.stdout.strip() == SELECTORS[0]


# Requests per 15 seconds.
TRAFFIC = {
    "/v1/chat/completions": 30,
    "/prometheus/metrics/summary": 6,
    "/prometheus/metrics/{category}": 3,
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Prometheus over a host that counts every request, ours included, which are errors and slow."""
    folder = tmp_path_factory.mktemp("self-traffic")
    lines = ["# TYPE fastapi_requests counter"]
    for path, rate in (*TRAFFIC.items(), ("/api/v1/query", 9)):
        status = "200" if path.startswith("/v1") else "500"
        labels = f'path="{path}",status_code="{status}"'
        lines += [f"fastapi_requests_total{{{labels}}} {rate * n} {START + 15 * n}" for n in range(41)]
    (folder / "samples.om").write_text("\n".join([*lines, "# EOF", ""]))
    processes.backfill(folder / "samples.om", folder / "tsdb")
    with processes.start_prometheus(folder / "tsdb") as process:
        yield Engine("prometheus", process.url)


@pytest.mark.parametrize(
    ("selector", "total", "per_minute", "errors"),
    [
        ("", 48 * 40, "192", "37.5"),
        ('path!~"/prometheus/.*"', 39 * 40, "156", "23.08"),
        ('path!~"/prometheus/metrics.*|/api/v1/.*"', 30 * 40, "120", "0"),
    ],
    ids=["everything", "one prefix", "API at the root"],
)
def test_the_selectors_of_the_page_leave_our_own_paths_out(
    counted: Engine, selector: str, total: int, per_minute: str, errors: str
) -> None:
    end = START + 15 * 40
    with serving(counted.url, selector=selector) as client:
        http = client.get("/prometheus/metrics/summary", params={"time": end}).json()["metrics"]["http"]
    inside = '{aggregated_by=""' + (f",{selector}" if selector else "") + "}"

    assert selector in ("", *SELECTORS)
    assert http["total_requests"] == str(total)
    assert counted.value(f"sum(fastapi_requests_total{inside})", end) == str(total)
    assert (http["request_rate_per_minute"], http["error_rate"]) == (per_minute, errors)
