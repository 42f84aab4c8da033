"""The routes inside somebody else's application."""

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import respx
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.integration import Installation
from gatewayz_metrics.operations.purge import PURGE
from gatewayz_metrics.upstream.request import Endpoint
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import FakeUpstream

PAGES = ["summary", *load().categories, "all", "docs"]
# The catalogue, read at the start, names the categories; the routes exist before.
OURS = {
    *(f"/prometheus/metrics{page}" for page in ("", "/summary", "/series", "/{category}", "/all", "/docs")),
    *Endpoint,
    PURGE,
}

Setup = Callable[[FastAPI], Installation]
Host = Callable[..., FastAPI]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(fakes.healthy) as fake:
        yield fake


# --------------------------------------------------------------------------- hosts


def entering(setup: Setup, **options: Any) -> FastAPI:
    """A host that enters us as a context in its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with setup(app):
            yield

    return FastAPI(lifespan=lifespan, **options)


def awaiting(setup: Setup, **options: Any) -> FastAPI:
    """A host that awaits us in its lifespan; closing is left to its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        handle = await setup(app)
        yield
        await handle.aclose()

    return FastAPI(lifespan=lifespan, **options)


def on_startup(setup: Setup, **options: Any) -> FastAPI:
    """A host that awaits us in a start-up event."""
    app = FastAPI(**options)
    with warnings.catch_warnings():
        # FastAPI says so from 0.103 on.
        warnings.simplefilter("ignore", DeprecationWarning)

        @app.on_event("startup")
        async def start() -> None:
            await setup(app)

    return app


def calling(setup: Setup, **options: Any) -> FastAPI:
    """A host that calls us when its module is imported, and never awaits the result."""
    app = FastAPI(**options)
    setup(app)
    return app


def calling_with_lifespan(setup: Setup, **options: Any) -> FastAPI:
    """The same for a host with a lifespan of its own, which runs no start-up and shutdown events."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(lifespan=lifespan, **options)
    setup(app)
    return app


def not_awaiting(setup: Setup, **options: Any) -> FastAPI:
    """A host that calls us in its lifespan and forgets to await."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        setup(app)
        yield

    return FastAPI(lifespan=lifespan, **options)


def entering_later(setup: Setup, **options: Any) -> FastAPI:
    """A host that calls us at once and enters the result in its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with handle:
            yield

    app = FastAPI(lifespan=lifespan, **options)
    handle = setup(app)
    return app


HOSTS = [entering, awaiting, on_startup, calling, calling_with_lifespan, not_awaiting, entering_later]
# Where our routes are there before anything has started.
CALLED_AT_ONCE = [calling, calling_with_lifespan, entering_later]


@pytest.fixture(params=HOSTS, ids=lambda host: host.__name__)
def host(request: pytest.FixtureRequest) -> Host:
    found: Host = request.param
    return found


def over(upstream: FakeUpstream, **options: Any) -> Setup:
    """A set-up with settings of its own."""
    found = Settings(prometheus_url=upstream.url, **options)
    return lambda app: setup_prometheus_routes(app, settings=found, prometheus_api="")


def assert_served(client: TestClient) -> None:
    for page in PAGES:
        answer = client.get(f"/prometheus/metrics/{page}")
        assert answer.status_code == 200, page
        assert answer.headers.get("x-upstream-status", "ok") == "ok"
    assert client.get("/prometheus/metrics/summary").json()["metrics"]["http"]["in_progress"] == "1.5"


# --------------------------------------------------------------------------- being served


def test_every_page_is_served(host: Host, upstream: FakeUpstream) -> None:
    with TestClient(host(over(upstream))) as client:
        assert_served(client)
        paths = client.get("/openapi.json").json()["paths"]

    assert set(paths) == OURS


def test_the_same_application_can_be_started_again(host: Host, upstream: FakeUpstream) -> None:
    app = host(over(upstream, cache_ttl=0))
    for _ in range(3):
        with TestClient(app) as client:
            assert_served(client)
            assert set(client.get("/openapi.json").json()["paths"]) == OURS

    # Nothing is kept from one start to the next, and every start asks the same.
    assert len(upstream.requests) % 3 == 0
    assert len(upstream.requests) >= 3 * len(PAGES)


def test_a_host_that_never_closes_us_gets_new_connections_when_it_starts_again() -> None:
    loops: list[asyncio.AbstractEventLoop | None] = []
    options = Settings(prometheus_url=f"http://127.0.0.1:{fakes.closed_port()}")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        handle = await setup_prometheus_routes(app, settings=options, prometheus_api="")
        loops.append(handle._services._loop)
        yield

    app = FastAPI(lifespan=lifespan)
    for _ in range(2):
        with TestClient(app) as client:
            # Connections belong to the loop they were made in, and the first loop has ended.
            assert loops[-1] is not None
            assert not loops[-1].is_closed()
            assert client.get("/prometheus/metrics/all").text.count("cannot be reached") == 1
            assert set(client.get("/openapi.json").json()["paths"]) == OURS
    assert loops[0] is not loops[1]


@pytest.mark.parametrize("host", CALLED_AT_ONCE, ids=lambda host: host.__name__)
def test_without_a_start_every_page_is_served(host: Host, upstream: FakeUpstream) -> None:
    # Without `with`, a TestClient runs neither lifespan nor events, and every request in a loop of its own.
    client = TestClient(host(over(upstream)))
    assert_served(client)
    assert client.get("/api/v1/query", params={"query": "up"}).status_code == 200
    assert client.get("/prometheus/metrics/nothing").json()["code"] == "unknown_route"

    # A connection left open would speak up here, and warnings are errors.
    del client
    gc.collect()


def test_the_stand_alone_application_is_served_without_a_start(upstream: FakeUpstream) -> None:
    app = create_app(Settings(prometheus_url=upstream.url))
    paths = set(app.openapi()["paths"])
    client = TestClient(app)
    assert_served(client)

    assert paths > OURS
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.post("/query", json={"targets": []}).json() == []
    with TestClient(app) as started:
        assert_served(started)


def test_the_stand_alone_application_without_a_start_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALOGUE", "/nowhere")
    answer = TestClient(create_app()).get("/prometheus/metrics/summary")

    assert answer.status_code == 500
    assert answer.json()["code"] == "configuration"
    assert "/nowhere" in answer.json()["error"]


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "afterwards"])
def test_setting_up_twice_is_harmless(upstream: FakeUpstream, inside: bool) -> None:
    setup = over(upstream)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with setup(app) as first:
            if inside:
                async with setup(app) as second:
                    assert second is first
                    yield
            else:
                assert await setup(app) is await setup(app) is first
                yield

    app = FastAPI(lifespan=lifespan)
    before = len(app.router.routes)
    once = FastAPI()
    setup(once)
    with TestClient(app) as client:
        assert len(app.router.routes) == len(once.router.routes)
        assert_served(client)
        # A second set of routes would warn of duplicate operation ids here, and warnings are errors.
        schema = client.get("/openapi.json").json()

    assert set(schema["paths"]) == OURS
    assert len(app.router.routes) == before


def test_leaving_gives_the_host_its_routes_back(upstream: FakeUpstream) -> None:
    app = FastAPI()
    statuses = []

    async def visit() -> None:
        client = TestClient(app)
        async with setup_prometheus_routes(app, settings=Settings(prometheus_url=upstream.url)):
            statuses.append(await asyncio.to_thread(lambda: client.get("/prometheus/metrics/docs").status_code))
        statuses.append(await asyncio.to_thread(lambda: client.get("/prometheus/metrics/docs").status_code))

    asyncio.run(visit())

    assert statuses == [200, 404]
    assert app.openapi()["paths"] == {}


# --------------------------------------------------------------------------- beside the host's own routes


def with_catch_all(app: FastAPI, _: Path) -> None:
    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def anything(path: str) -> dict[str, str]:
        return {"host": path}


def with_files(app: FastAPI, folder: Path) -> None:
    (folder / "page.txt").write_text("a file of the host")
    app.mount("/", StaticFiles(directory=folder))


def with_asgi(app: FastAPI, _: Path) -> None:
    async def anything(scope: Any, receive: Any, send: Any) -> None:
        await Response("the host")(scope, receive, send)

    app.mount("/", anything)


GREEDY = [with_catch_all, with_files, with_asgi]


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda greedy: greedy.__name__)
def test_a_greedy_host_that_is_not_started_does_not_hide_us(
    greedy: Callable[[FastAPI, Path], None], upstream: FakeUpstream, tmp_path: Path
) -> None:
    app = FastAPI()
    greedy(app, tmp_path)
    over(upstream)(app)

    assert_served(TestClient(app))
    assert TestClient(app).get("/page.txt").status_code == 200


@pytest.mark.parametrize("greedy", GREEDY, ids=lambda greedy: greedy.__name__)
def test_a_greedy_host_does_not_hide_us(
    greedy: Callable[[FastAPI, Path], None], host: Host, upstream: FakeUpstream, tmp_path: Path
) -> None:
    app = host(over(upstream))
    greedy(app, tmp_path)
    with TestClient(app) as client:
        assert_served(client)
        elsewhere = client.get("/page.txt")
        below = client.get("/prometheus/elsewhere")

    assert elsewhere.status_code == 200
    assert below.status_code == (404 if greedy is with_files else 200)


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/prometheus"])
def test_what_belongs_to_the_host_stays_the_hosts(path: str, host: Host, upstream: FakeUpstream) -> None:
    app = host(over(upstream))
    # FastAPI's own pages would answer first.
    pages = {route.path for route in FastAPI().routes if isinstance(route, Route)}
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) not in pages]

    @app.get(path)
    async def own() -> dict[str, str]:
        return {"host": path}

    with TestClient(app) as client:
        assert client.get(path).json() == {"host": path}
        assert_served(client)


def test_without_routes_of_its_own_the_host_has_none_of_ours(upstream: FakeUpstream) -> None:
    with TestClient(entering(over(upstream))) as client:
        statuses = {path: client.get(path).status_code for path in ("/", "/livez", "/readyz", "/metrics")}

    assert set(statuses.values()) == {404}


def test_the_hosts_middleware_and_dependencies_apply(host: Host, upstream: FakeUpstream) -> None:
    async def only_friends(request: Request) -> None:
        if request.headers.get("x-friend") != "yes":
            raise HTTPException(403, "not a friend", {"x-reason": "manners"})

    app = host(over(upstream), dependencies=[Depends(only_friends)])

    @app.middleware("http")
    async def sign(request: Request, proceed: Callable[[Request], Any]) -> Response:
        answer: Response = await proceed(request)
        answer.headers["x-host"] = "was here"
        return answer

    with TestClient(app) as client:
        friend = client.get("/prometheus/metrics/summary", headers={"x-friend": "yes"})
        stranger = client.get("/prometheus/metrics/summary")

    assert (friend.status_code, friend.headers["x-host"]) == (200, "was here")
    assert (stranger.status_code, stranger.headers["x-host"]) == (403, "was here")
    assert (stranger.json(), stranger.headers["x-reason"]) == ({"detail": "not a friend"}, "manners")


def test_the_hosts_errors_stay_the_hosts(upstream: FakeUpstream) -> None:
    app = entering(over(upstream))

    @app.get("/teapot")
    async def brew() -> None:
        raise HTTPException(418, "a teapot")

    with TestClient(app) as client:
        assert client.get("/teapot").json() == {"detail": "a teapot"}
        assert client.get("/nothing").json() == {"detail": "Not Found"}
        assert client.get("/prometheus/metrics/nothing").json()["code"] == "unknown_route"
        assert client.get("/prometheus/metrics/all", params={"time": "x"}).json()["code"] == "invalid_parameter"


# --------------------------------------------------------------------------- closing


def test_connections_are_closed_at_the_end(host: Host, upstream: FakeUpstream) -> None:
    found: list[Installation] = []

    def setup(app: FastAPI) -> Installation:
        found.append(setup_prometheus_routes(app, settings=Settings(prometheus_url=upstream.url)))
        return found[-1]

    app = host(setup)
    with TestClient(app) as client:
        assert_served(client)
        service = found[0]._services._service
        assert service is not None
        http = service._upstream._connections._current.transport._client  # type: ignore[attr-defined]  # the client behind the protocol
        assert not http.is_closed

    assert http.is_closed
    # An unclosed connection would speak up now, and warnings are errors.
    found.clear()
    del service, http, app, client
    gc.collect()


def test_closing_again_is_harmless(upstream: FakeUpstream) -> None:
    async def visit() -> None:
        handle = await setup_prometheus_routes(FastAPI(), settings=Settings(prometheus_url=upstream.url))
        await handle.aclose()
        await handle.aclose()

    asyncio.run(visit())


def test_connections_are_closed_when_the_host_fails(upstream: FakeUpstream) -> None:
    kept: list[Any] = []

    async def fail(kept: list[Any]) -> None:
        async with setup_prometheus_routes(FastAPI(), settings=Settings(prometheus_url=upstream.url)) as handle:
            kept.append(handle._services.get()._upstream)
            await kept[0].instant('label_replace(vector(1),"_part","a","","")')
            raise LookupError

    async def visit() -> bool:
        with pytest.raises(LookupError):
            await fail(kept)
        closed: bool = kept[0]._connections._current.transport._client.is_closed
        return closed

    assert asyncio.run(visit())


# --------------------------------------------------------------------------- what asks the upstream


def test_a_host_that_mocks_httpx_meets_our_requests(host: Host) -> None:
    app = host(lambda app: setup_prometheus_routes(app, prometheus_url="http://prometheus.example"))
    with respx.mock(base_url="http://prometheus.example") as router, TestClient(app) as client:
        asked = router.post("/api/v1/query").respond(content=fakes.vector_body([]))
        answer = client.get("/prometheus/metrics/summary")

    assert asked.called
    assert answer.headers["x-upstream-status"] == "ok"


def test_a_host_may_choose_the_library(
    upstream: FakeUpstream, http_library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAYZ_METRICS_UPSTREAM_CLIENT", http_library)
    app = FastAPI()
    installation = setup_prometheus_routes(app, prometheus_url=upstream.url)
    with TestClient(app) as client:
        assert_served(client)
        service = installation._services._service
        assert service is not None
        assert service.settings.http_library == http_library


# --------------------------------------------------------------------------- where settings come from


def plainly(app: FastAPI) -> Installation:
    return setup_prometheus_routes(app)


def test_the_url_comes_from_the_environment(
    host: Host, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = host(plainly)
    # Set after the application was put together: nothing is read before the start.
    monkeypatch.setenv("PROMETHEUS_URL", upstream.url)
    with TestClient(app) as client:
        assert_served(client)


def test_the_url_comes_from_the_file(host: Host, upstream: FakeUpstream, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"PROMETHEUS_URL={upstream.url}\n")
    with TestClient(host(plainly)) as client:
        assert_served(client)


def test_the_argument_wins(host: Host, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROMETHEUS_URL=http://127.0.0.1:1\n")
    monkeypatch.setenv("PROMETHEUS_URL", "http://127.0.0.1:2")
    with TestClient(host(lambda app: setup_prometheus_routes(app, prometheus_url=upstream.url))) as client:
        assert_served(client)


# --------------------------------------------------------------------------- settings that cannot work

FAULTS: dict[str, tuple[str, str, str]] = {
    "URL": ("PROMETHEUS_URL", "prometheus:9090", "PROMETHEUS_URL cannot be used: it must be a URL"),
    "URL that httpx refuses": ("PROMETHEUS_URL", "http://999.1.1.1", "PROMETHEUS_URL cannot be used: "),
    "selector": ("GATEWAYZ_METRICS_SELECTOR", "production", "GATEWAYZ_METRICS_SELECTOR cannot be used: "),
}
TOKEN = {"Authorization": "Bearer the-token"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_setting_never_stops_the_host(
    fault: str, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name, value, sentence = FAULTS[fault]
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("GATEWAYZ_METRICS_API_TOKENS", "the-token")
    app = host(plainly)

    @app.get("/own")
    async def own() -> str:
        return "the host"

    with TestClient(app) as client:
        summary = client.get("/prometheus/metrics/summary", headers=TOKEN)
        pages = [client.get(f"/prometheus/metrics/{page}", headers=TOKEN) for page in PAGES]
        strangers = {client.get(f"/prometheus/metrics/{page}").status_code for page in PAGES}
        assert client.get("/own").json() == "the host"

    assert sentence in summary.json()["error"]
    assert {value for keys in summary.json()["metrics"].values() for value in keys.values()} == {"N/A"}
    assert {page.status_code for page in pages} == {200}
    assert [sentence in page.text for page in pages] == [page != "docs" for page in PAGES]
    assert strangers == {401}
    assert [sentence in record.getMessage() for record in caplog.records if record.name.startswith("gatewayz")] == [
        True
    ]


def test_tokens_given_in_code_hold_when_the_catalogue_does_not() -> None:
    settings = Settings(api_tokens=("the-token",), catalogue=Path("/nowhere"))
    with TestClient(entering(lambda app: setup_prometheus_routes(app, settings=settings))) as client:
        assert client.get("/prometheus/metrics/summary").status_code == 401
        assert "/nowhere" in client.get("/prometheus/metrics/summary", headers=TOKEN).json()["error"]


@pytest.mark.parametrize("content", [b"X=\xff\n", b"GATEWAYZ_METRICS_API_TOKENS=,\n"], ids=["no UTF-8", "no token"])
def test_tokens_that_cannot_be_read_let_nobody_in(content: bytes, host: Host, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    with TestClient(host(plainly)) as client:
        assert client.get("/prometheus/metrics/summary").status_code == 401
        assert client.get("/prometheus/metrics/summary", headers={"Authorization": "Bearer "}).status_code == 401


# --------------------------------------------------------------------------- importing

CHECK = r"""
import sys
import warnings

opened = []

def audit(event, args):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen"):
        raise SystemExit(f"{event} {args}")
    if event == "open" and str(args[0]).endswith((".env", ".toml", ".pem")):
        opened.append(str(args[0]))

sys.addaudithook(audit)
# What an old library says of itself is no fault of ours.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(fastapi|pydantic_core|starlette)\.")
import gatewayz_metrics.main
from fastapi import FastAPI
gatewayz_metrics.setup_prometheus_routes(FastAPI())
assert not opened, opened
print("nothing")
"""


def test_importing_reads_and_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PROMETHEUS_URL=\xff\n")
    environment = os.environ | {"PROMETHEUS_URL": "nonsense", "CATALOGUE": "/nowhere", "CACHE_TTL": "never"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("nothing\n", "")
