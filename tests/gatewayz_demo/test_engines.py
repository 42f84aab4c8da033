"""Where engines come from, in order, with the network played by a loopback server and a folder of packages."""

import errno
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from gatewayz_demo import engines, fetch
from gatewayz_demo.engines import PROMETHEUS, PROMTOOL, VICTORIA_METRICS, Engine, Finder
from gatewayz_demo.errors import DiskFull, EngineUnavailable, FetchFailed
from gatewayz_demo.fetch import Release

SCRIPT = b"#!/bin/sh\necho prometheus, version 9.8.7\n"


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SCRIPT)
    path.chmod(0o755)
    return path


def tarball(*members: str | tarfile.TarInfo) -> bytes:
    """An archive of programs by their names, and of whatever else is given."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for each in members:
            member = each if isinstance(each, tarfile.TarInfo) else tarfile.TarInfo(each)
            if member.isreg():
                member.size, member.mode = len(SCRIPT), 0o755
            tar.addfile(member, io.BytesIO(SCRIPT) if member.isreg() else None)
    return raw.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member that is no file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def here(version: str = "9.8.7", sha256: str = "0" * 64) -> Release:
    return Release(version, fetch.detect_platform(), sha256)


GOOD = tarball(f"{here().title}/prometheus", f"{here().title}/promtool")
EVIL: dict[str, list[str | tarfile.TarInfo]] = {
    "a way up": ["../evil"],
    "a way down and up": [f"{here().title}/a/../../../evil"],
    "an absolute path": ["/FOLDER/evil"],
    "a link out": [special("link", tarfile.SYMTYPE, "../.."), "link/evil"],
    "a link to another file": [special("evil", tarfile.LNKTYPE, "/etc/hostname")],
    "a pipe": [special("evil", tarfile.FIFOTYPE)],
    "a device": [special("evil", tarfile.CHRTYPE)],
    "the same file twice": [f"{here().title}/prometheus"],
}


def pinned(body: bytes) -> Release:
    return here(sha256=hashlib.sha256(body).hexdigest())


class Mirror(ThreadingHTTPServer):
    """A release server; `cut` bytes are promised and not sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.body, self.status, self.cut = GOOD, 200, 0
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:  # the name http.server calls
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: len(self.server.body) - self.server.cut])

    def log_message(self, *_: object) -> None:
        """Stays quiet."""


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment without any program, package manager or network."""
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def shelf(environ: dict[str, str]) -> list[str]:
    """What the cache holds besides locks."""
    folder = Path(environ["XDG_CACHE_HOME"], "gatewayz-metrics", "engines")
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# --- found -----------------------------------------------------------------------------------------


def test_a_named_binary_wins_over_path(bare: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/prometheus")
    named = program(tmp_path / "own/prometheus")

    found = Finder({**bare, "PROMETHEUS_BIN": str(named)}).find(PROMETHEUS)

    assert found.path == named
    assert found.version() == "9.8.7"


def test_a_named_binary_that_is_none_says_which_variable_is_wrong(bare: dict[str, str]) -> None:
    with pytest.raises(EngineUnavailable, match="PROMETHEUS_BIN names /nowhere/prometheus"):
        Finder({**bare, "PROMETHEUS_BIN": "/nowhere/prometheus"}).find(PROMETHEUS)


@pytest.mark.parametrize("variable", ["PROMETHEUS_BIN", "PATH"])
def test_promtool_is_looked_for_beside_prometheus(bare: dict[str, str], tmp_path: Path, variable: str) -> None:
    real = program(tmp_path / "opt/prometheus")
    beside = program(tmp_path / "opt/promtool")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/prometheus").symlink_to(real)
    value = {"PROMETHEUS_BIN": str(real), "PATH": bare["PATH"]}[variable]

    assert Finder({**bare, variable: value}).find(PROMTOOL).path == beside


def test_a_cached_binary_brings_its_libraries(bare: dict[str, str]) -> None:
    tree = Path(bare["XDG_CACHE_HOME"], "gatewayz-metrics/engines", VICTORIA_METRICS.tree)
    cached = program(tree / "usr/bin/victoria-metrics")
    (tree / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)

    found = Finder(bare).find(VICTORIA_METRICS)

    assert found.path == cached
    assert found.env == {"LD_LIBRARY_PATH": str(tree / "usr/lib/x86_64-linux-gnu")}


def test_nothing_at_hand_names_the_remedies(bare: dict[str, str]) -> None:
    with pytest.raises(
        EngineUnavailable, match="running server with PROMETHEUS_URL, or set PROMETHEUS_BIN to a binary"
    ):
        Finder(bare).find(PROMETHEUS)


def test_a_cache_folder_that_cannot_be_made_names_its_variable(bare: dict[str, str]) -> None:
    with pytest.raises(EngineUnavailable, match="set XDG_CACHE_HOME"):
        Finder({**bare, "XDG_CACHE_HOME": "/dev/null"}).find(PROMETHEUS)


# --- fetched as a release --------------------------------------------------------------------------


def test_the_release_is_fetched_once(bare: dict[str, str], mirror: Mirror) -> None:
    finder = Finder({**bare, "PROMETHEUS_MIRROR": mirror.url}, releases=[pinned(GOOD)])

    assert finder.find(PROMETHEUS).version() == "9.8.7"
    assert finder.find(PROMTOOL).version() == "9.8.7"
    assert mirror.paths == [f"/v9.8.7/{here().title}.tar.gz"]


def broken(mirror: Mirror, case: str) -> Release:
    match case:
        case "wrong hash":
            return here()
        case "truncated":
            mirror.cut = 10
        case "404":
            mirror.status = 404
        case "no archive":
            mirror.body = b"<html>Sign in</html>"
    return pinned(mirror.body)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("wrong hash", "not the pinned 0000"),
        ("truncated", r"ended after \d+ of \d+ bytes"),
        ("404", "answered 404"),
        ("no archive", "cannot be unpacked"),
    ],
)
def test_a_bad_release_leaves_nothing(
    bare: dict[str, str], mirror: Mirror, tmp_path: Path, case: str, reason: str
) -> None:
    finder = Finder({**bare, "PROMETHEUS_MIRROR": mirror.url}, releases=[broken(mirror, case)])

    with pytest.raises(EngineUnavailable, match=reason):
        finder.find(PROMETHEUS)

    assert shelf(bare) == []
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("evil", EVIL)
def test_a_release_that_writes_elsewhere_leaves_nothing(
    bare: dict[str, str], mirror: Mirror, tmp_path: Path, evil: str
) -> None:
    members = [each.replace("/FOLDER", str(tmp_path)) if isinstance(each, str) else each for each in EVIL[evil]]
    mirror.body = tarball(f"{here().title}/prometheus", *members)
    finder = Finder({**bare, "PROMETHEUS_MIRROR": mirror.url}, releases=[pinned(mirror.body)])

    with pytest.raises(EngineUnavailable, match="cannot be unpacked"):
        finder.find(PROMETHEUS)

    assert shelf(bare) == []
    assert list(tmp_path.rglob("evil")) == []


def test_two_at_once_fetch_once(bare: dict[str, str], mirror: Mirror) -> None:
    finder = Finder({**bare, "PROMETHEUS_MIRROR": mirror.url}, releases=[pinned(GOOD)])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(finder.find, [PROMETHEUS, PROMTOOL] * 4))

    assert len({engine.path for engine in found}) == 2
    assert len(mirror.paths) == 1


def test_a_closed_port_is_told(bare: dict[str, str], mirror: Mirror) -> None:
    closed = mirror.url
    mirror.server_close()

    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        Finder({**bare, "PROMETHEUS_MIRROR": closed}, releases=[pinned(GOOD)]).find(PROMETHEUS)


@pytest.mark.parametrize("base", ["http://example.org", "file:///tmp", "ftp://127.0.0.1", "nonsense"])
def test_a_mirror_must_be_https(base: str) -> None:
    with pytest.raises(FetchFailed, match="PROMETHEUS_MIRROR must be an https address"):
        here().url(base)


def test_another_platform_has_no_release(bare: dict[str, str]) -> None:
    elsewhere = replace(pinned(GOOD), platform="plan9-mips")

    with pytest.raises(EngineUnavailable, match="No official release of prometheus is pinned for"):
        Finder(bare, releases=[elsewhere]).find(PROMETHEUS)


def test_a_binary_of_ones_own_is_not_called_by_the_version_of_go(tmp_path: Path) -> None:
    """`go build` leaves the version out."""
    binary = tmp_path / "prometheus"
    binary.write_text("#!/bin/sh\necho 'prometheus, version  (branch: )'\necho '  go version:  go1.26.8'\n", "utf-8")
    binary.chmod(0o755)

    assert Engine("prometheus", binary).version() == "of unknown version"


def test_macos_is_told_what_works_there(bare: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of what there is none of."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    said: list[str] = []
    with pytest.raises(EngineUnavailable) as caught:
        Finder(bare, said.append, fetch.load_releases()).find(PROMETHEUS)

    for way in ("brew install prometheus", "go build", "docker compose up", "PROMETHEUS_URL", "PROMETHEUS_BIN"):
        assert way in str(caught.value)
    assert str(caught.value).count(". ") == 0
    assert said == []


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (EngineUnavailable("dpkg ended with code 2: Cannot write: No space left on device"), True),
        (EngineUnavailable("apt-get ended with code 100: no such package"), False),
    ],
)
def test_a_full_disk_is_told_whoever_meets_it(error: Exception, is_full: bool) -> None:
    assert (DiskFull.behind(error) is not None) == is_full


def test_every_pin_is_a_sha256() -> None:
    pins = [each.sha256 for each in fetch.load_releases()]

    assert pins
    assert all(len(pin) == 64 and int(pin, 16) for pin in pins)


# --- fetched as packages ---------------------------------------------------------------------------


@pytest.fixture
def packages(bare: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment whose apt knows one local source and has no package lists yet."""
    if not Path("/usr/bin/apt-get").exists():
        pytest.skip("no apt-get here")
    repository = tmp_path / "repository"
    content = tmp_path / "content"
    program(content / "usr/bin/prometheus")
    (content / "DEBIAN").mkdir()
    control = "Package: prometheus\nVersion: 9.8.7\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
    (content / "DEBIAN/control").write_text(control)
    repository.mkdir()
    archive = repository / "prometheus.deb"
    subprocess.run(["dpkg-deb", "-b", content, archive], check=True, capture_output=True)  # noqa: S607  # our own
    facts = f"Filename: ./prometheus.deb\nSize: {archive.stat().st_size}\n"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (repository / "Packages").write_text(f"{control}{facts}SHA256: {digest}\n")
    sources, config, lists = tmp_path / "sources.list", tmp_path / "apt.conf", tmp_path / "lists"
    lists.mkdir()
    sources.write_text(f"deb [trusted=yes] file:{repository} ./\n")
    config.write_text(
        f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\nDir::State::Lists "{lists}";\n'
    )
    return {**bare, "PATH": str(tools(tmp_path / "tools")), "APT_CONFIG": str(config)}


def tools(folder: Path) -> Path:
    """A PATH on which packages can be fetched and unpacked, and no engine is found that this machine may have."""
    folder.mkdir()
    for name in ("apt-get", "dpkg", "dpkg-deb", "sh", "tar"):
        (folder / name).symlink_to(Path("/usr/bin", name).resolve())
    return folder


def test_packages_come_without_root_and_without_lists(packages: dict[str, str], tmp_path: Path) -> None:
    said: list[str] = []

    found = Finder(packages, said.append).find(PROMETHEUS)

    assert found.path.is_relative_to(tmp_path / "cache")
    assert found.version() == "9.8.7"
    assert said[1].startswith("The system has no fresh package lists")
    assert shelf(packages) == [PROMETHEUS.tree]
    assert list((tmp_path / "lists").glob("*Packages*")) == []


def test_a_missing_package_falls_through(packages: dict[str, str]) -> None:
    with pytest.raises(EngineUnavailable, match="apt-get ended with code 100"):
        Finder(packages).find(VICTORIA_METRICS)

    assert shelf(packages) == []


def test_the_real_engine_is_found() -> None:
    found = engines.find_engine("prometheus")

    assert os.access(found.path, os.X_OK)
    assert found.version() != "of unknown version"
