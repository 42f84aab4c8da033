"""Secrets that change while the service runs: followed when they are whole, and never lost."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import ConfigurationError, Settings, create_app, watched_files
from gatewayz_metrics.service import Service, create_embedded_service
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.watched_files import Contents, FileWatcher, WatchedFiles

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, Received
from tests.support.waiting import reach, wait_until

SUMMARY = "/prometheus/metrics/summary"


@pytest.fixture(autouse=True)
def _only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seen is due to a reload, not to the next look."""
    monkeypatch.setattr(watched_files, "INTERVAL", 3600.0)


class Holder:
    """What uses the content of a file."""

    def __init__(self, file: Path) -> None:
        self.value = b""
        self.files = WatchedFiles({"SECRET_FILE": file}, self._prepare)

    def _prepare(self, contents: Contents) -> Callable[[], None]:
        content = contents["SECRET_FILE"]
        if content.startswith(b"half"):
            raise ValueError("SECRET_FILE cannot be used: it is half written.")

        def use() -> None:
            self.value = content

        return use


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "secret"
    found.write_bytes(b"first")
    return found


def follow(file: Path, *changes: Callable[[], object]) -> list[bytes]:
    """The value in use after each change."""

    async def story() -> list[bytes]:
        holder = Holder(file)
        holder.files.load()
        watcher = FileWatcher([holder.files])
        seen = []
        for change in changes:
            change()
            await watcher.look()
            seen.append(holder.value)
        await watcher.aclose()
        return seen

    return asyncio.run(story())


def test_another_content_under_the_same_time_is_noticed(file: Path) -> None:
    """M7: the modification time says nothing."""

    def rewrite() -> None:
        before = file.stat()
        file.write_bytes(b"secon")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert follow(file, lambda: None, rewrite) == [b"first", b"secon"]


def make_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.write_bytes(b" \n"), "is empty"),
        (lambda file: file.write_bytes(b"half of it"), "it is half written"),
        (lambda file: file.write_bytes(b"x" * (2**20 + 1)), "more than 1,048,576 bytes"),
        (lambda file: file.unlink(), "No such file"),
        (make_folder, "cannot be read"),
        (make_fifo, "it is no regular file"),
    ],
    ids=["empty", "blank", "half written", "too large", "absent", "a folder", "a FIFO"],
)
def test_the_old_value_stays_while_the_file_cannot_be_used(
    file: Path, bad: Callable[[Path], object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M7: a token file that is empty for a moment, or a FIFO that nobody writes to."""
    again = file.with_name("again")
    again.write_bytes(b"again")

    def mend() -> None:
        if file.is_dir():
            file.rmdir()
        again.replace(file)

    seen = follow(file, lambda: bad(file), lambda: None, mend)

    assert seen == [b"first", b"first", b"again"]
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said in line
    assert line.endswith("What was read before stays in use.")


def test_a_file_that_is_being_written_is_left_for_the_next_look(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = watched_files._read_file

    def read_and_write_on(setting: str, path: Path) -> bytes:
        """What stands there; its writer goes on right after."""
        found = read(setting, path)
        if found == b"second":
            path.write_bytes(b"second, whole")
        return found

    def begin_to_write() -> None:
        file.write_bytes(b"second")
        monkeypatch.setattr(watched_files, "_read_file", read_and_write_on)

    assert follow(file, begin_to_write, lambda: None) == [b"first", b"second, whole"]


def test_a_change_is_seen_without_being_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_files, "INTERVAL", 0.01)

    def write() -> None:
        file.write_bytes(b"second")

    async def story() -> None:
        holder = Holder(file)
        holder.files.load()
        watcher = FileWatcher([holder.files])
        write()
        await reach(lambda: holder.value == b"second")
        await watcher.aclose()

    asyncio.run(story())


def test_a_slow_disk_holds_up_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M7: reading happens beside the event loop, and the loop's end does not wait for it."""
    begun, released = Event(), Event()
    read = watched_files._read_file

    def slow(setting: str, path: Path) -> bytes:
        begun.set()
        released.wait(60)
        return read(setting, path)

    async def story() -> None:
        holder = Holder(file)
        holder.files.load()
        monkeypatch.setattr(watched_files, "_read_file", slow)
        watcher = FileWatcher([holder.files])
        watcher.reload()
        await reach(begun.is_set)
        await watcher.aclose()

    asyncio.run(story())
    assert not released.is_set()
    released.set()


# --------------------------------------------------------------------------- tokens and tenants


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(fakes.healthy) as fake:
        yield fake


def status(client: TestClient, token: str, path: str = SUMMARY) -> int:
    found: int = client.get(path, headers={"X-API-Key": token}).status_code
    return found


def reload(client: TestClient) -> None:
    """What SIGHUP does."""
    assert client.portal is not None
    assert isinstance(client.app, FastAPI)
    client.portal.call(client.app.state.services.reload)


def test_tokens_are_followed_without_a_restart(upstream: FakeUpstream, tmp_path: Path) -> None:
    """M11: tokens from a file, rotated while the service runs."""
    file = tmp_path / "tokens"
    file.write_text("one\n\n  two\t\r\n")
    with serving(upstream.url, api_tokens_file=file, api_tokens=("fixed",)) as client:
        before = [status(client, token) for token in ("one", "two", "three", "fixed", "")]
        file.write_text("two\nthr\u00e9e\u00e0")
        reload(client)
        wait_until(lambda: status(client, "one") == 401)
        after = [status(client, token) for token in ("two", "fixed")]
        bytes_of = client.get(SUMMARY, headers=[(b"Authorization", "Bearer thr\u00e9e\u00e0".encode())])
        file.write_text("")
        reload(client)
        kept = status(client, "two")

    assert before == [200, 200, 401, 200, 401]
    assert (after, bytes_of.status_code, kept) == ([200, 200], 200, 200)


def test_tenants_are_followed_without_a_restart(upstream: FakeUpstream, tmp_path: Path) -> None:
    """M11: tenants from a file."""
    file = tmp_path / "tenants"
    file.write_text('{"a-token": "team-a"}')
    settings = {"api_tokens": ("all",), "prometheus_engine": "mimir", "tenants": {"c-token": "team-c"}}
    with serving(upstream.url, tenants_file=file, **settings) as client:
        path = "/api/v1/query?query=up"
        assert [status(client, f"{name}-token", path) for name in "abc"] == [200, 401, 200]
        file.write_text('{"b-token": "team-b"')
        reload(client)
        assert [status(client, f"{name}-token", path) for name in "abc"] == [200, 401, 200]
        file.write_text('{"b-token": "team-b"}')
        reload(client)
        wait_until(lambda: status(client, "b-token", path) == 200)
        assert [status(client, f"{name}-token", path) for name in "abc"] == [401, 200, 200]

    assert tenant(upstream.requests[-1]) in (["team-b"], ["team-c"])


def tenant(request: Received) -> list[str]:
    return request.header("X-Scope-OrgID")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("api_tokens_file", None, "cannot be read"),
        ("api_tokens_file", b"", "is empty"),
        ("api_tokens_file", b"\xff\xfe", "it is not UTF-8"),
        ("tenants_file", b"token: team", "it must be a JSON object"),
        ("tenants_file", b'["a"]', "it must be a JSON object"),
        ("tenants_file", b'{"a": 1}', "it must be a JSON object"),
        ("tenants_file", b'{"a": "x", "a": "y"}', "it names something twice"),
        ("tenants_file", b'{"good": "x"}', "a token stands in both API_TOKENS and TENANTS"),
        ("tenants_file", b'{"mine": "x"}', "a token stands in both TENANTS and TENANTS_FILE"),
    ],
)
def test_a_start_with_unusable_files_is_a_sentence(
    name: str, content: bytes | None, said: str, tmp_path: Path, upstream: FakeUpstream
) -> None:
    """Low: a tenant's token twice is an error, not the last one's."""
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    settings = {"api_tokens": ("good",), "prometheus_engine": "mimir", "tenants": {"mine": "z"}, name: file}
    with pytest.raises(ConfigurationError) as caught, serving(upstream.url, **settings):
        pass

    assert name.upper() in caught.value.sentence
    assert said.lower() in caught.value.sentence.lower()


def test_a_host_whose_token_file_cannot_be_read_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    monkeypatch.setenv("GATEWAYZ_METRICS_API_TOKENS_FILE", str(file))

    async def story() -> list[bool]:
        service = create_embedded_service(Telemetry(), None, "http://127.0.0.1:9")
        found = [service.tokens.open]
        file.write_text("later")
        service.reload()
        await reach(lambda: bool(service.tokens._digests))
        await service.aclose()
        return [*found, service.tokens.open]

    assert asyncio.run(story()) == [False, False]


def test_without_a_running_service_there_is_nothing_to_reload() -> None:
    async def story() -> None:
        create_app(Settings()).state.services.reload()

    asyncio.run(story())


def test_the_service_of_a_finished_loop_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("one")

    async def begin() -> Service:
        return Service(Settings(api_tokens_file=file), Telemetry())

    service = asyncio.run(begin())
    asyncio.run(service.aclose())
    assert service._files._task is not None
    assert service._files._task.done()


def test_the_upstreams_token_stays_while_its_file_is_empty(upstream: FakeUpstream, tmp_path: Path) -> None:
    """M7: what is sent does not change, and the breaker has nothing to open for."""
    file = tmp_path / "token"
    file.write_text("first\n")
    with serving(upstream.url, prometheus_bearer_token_file=file, cache_ttl=0) as client:
        for content in ("", "second"):
            file.write_text(content)
            for _ in range(6):
                assert "error" not in client.get(SUMMARY).json()
        reload(client)
        wait_until(lambda: client.get(SUMMARY) is not None and sent(upstream)[-1] == "Bearer second")

    assert set(sent(upstream)) == {"Bearer first", "Bearer second"}


def sent(upstream: FakeUpstream) -> list[str]:
    return [request.header("Authorization")[0] for request in upstream.requests]
