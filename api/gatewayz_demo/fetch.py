"""Fetching engine binaries without root: the cache folder, Debian packages, Prometheus' release archives.

The cache folder keeps binaries and demo data between runs. Packages come from apt, which checks
their signatures; a release archive is accepted only with the sha256 in `releases.toml`.
"""

import fcntl
import hashlib
import ipaddress
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from gatewayz_demo.errors import EngineUnavailable, FetchFailed
from gatewayz_demo.work import Work

# Receives a sentence for the terminal at the start of everything that takes long.
Progress = Callable[[str], None]


def ignore_progress(_: str) -> None:
    """A Progress that prints nothing."""


def create_cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache folder of this user, created when missing. Raises EngineUnavailable when it cannot be.

    The place: https://specifications.freedesktop.org/basedir-spec/latest/.
    """
    home = environ.get("HOME") or tempfile.gettempdir()
    path = Path(environ.get("XDG_CACHE_HOME") or Path(home, ".cache"), "gatewayz-metrics")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        why = f"The cache folder {path} cannot be created ({exc.strerror})"
        raise EngineUnavailable(f"{why}; set XDG_CACHE_HOME to a place that can be written.") from exc
    return path


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds the lock file during the block; waits until no other process holds it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Holds the lock file during the block and gives True, or gives False when another process holds it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def create_folder(place: Path, fill: Callable[[Path], None], work: Work) -> None:
    """Creates a folder with whatever `fill` writes into it; when `fill` raises, the folder does not change."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with work.scratch(place.parent, ".fetch-") as scratch:
        tree = scratch / "tree"
        tree.mkdir()
        fill(tree)
        # A folder may be there without the program that was looked for, left by another version of this code.
        shutil.rmtree(place, ignore_errors=True)
        tree.rename(place)


# Packages of Debian and its derivatives.

# Seconds for one apt or dpkg command; bounds a download from a slow mirror.
PACKAGE_TIMEOUT = 180.0


@dataclass(frozen=True)
class Packages:
    """The distribution's packages; `environ` is the environment of apt and dpkg."""

    environ: Mapping[str, str]
    progress: Progress = ignore_progress
    work: Work = field(default_factory=Work)

    def check(self) -> None:
        """Raises FetchFailed where there is no such distribution."""
        if not (self._has("apt-get") and self._has("dpkg")):
            raise FetchFailed("This system has no apt-get and dpkg.")

    def unpack(self, names: Sequence[str], into: Path) -> None:
        """Downloads packages and unpacks them into a folder. Raises FetchFailed."""
        with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
            archives = Path(scratch)
            self._download(names, archives)
            for archive in sorted(archives.glob("*.deb")):
                self._run(["dpkg", "-x", str(archive), str(into)], archives)

    def _has(self, program: str) -> bool:
        return shutil.which(program, path=self.environ.get("PATH", os.defpath)) is not None

    def _download(self, names: Sequence[str], archives: Path) -> None:
        try:
            self._apt(archives, "download", *names)
        except FetchFailed:
            self.progress("The system has no fresh package lists; fetching some for this user alone ...")
            private = _create_private_state(archives / "apt")
            # Not checked: one broken source fails the whole update, and the packages of the others can still be had.
            self._apt(archives, *private, "update", check=False)
            self._apt(archives, *private, "download", *names)

    def _apt(self, folder: Path, *arguments: str, check: bool = True) -> None:
        options = {
            # As root, apt downloads as the user _apt, who may not write to this folder.
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::Languages": "none",
            "Acquire::Retries": 1,
            "Acquire::http::Timeout": 15,
        }
        self._run(["apt-get", "-q", *_format_options(options), *arguments], folder, check=check)

    def _run(self, command: list[str], folder: Path, *, check: bool = True) -> None:
        env = {**self.environ, "LC_ALL": "C"}
        try:
            done = self.work.run(command, cwd=folder, env=env, timeout=PACKAGE_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise FetchFailed(f"{command[0]} did not finish: {exc}.") from exc
        if check and done.returncode:
            reason = " ".join(done.stderr.split())[-300:]
            raise FetchFailed(f"{command[0]} ended with code {done.returncode}: {reason}")


def _create_private_state(state: Path) -> list[str]:
    """Options that make apt keep its lists and archives in this folder, as the system's need root."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    return _format_options(
        {
            "Dir::State": state,
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": "/var/lib/dpkg/status",
            "Dir::Cache": state / "cache",
        }
    )


def _format_options(options: Mapping[str, object]) -> list[str]:
    return [argument for key, value in options.items() for argument in ("-o", f"{key}={value}")]


# Prometheus' official release archives.

OFFICIAL = "https://github.com/prometheus/prometheus/releases/download"
# Seconds without a byte; the whole download may take longer.
DOWNLOAD_TIMEOUT = 30.0
# Bytes; bounds the disk space that a wrong mirror can fill.
LIMIT = 400 * 1024 * 1024
CHUNK = 1024 * 1024
# What platform.machine() returns, and Go's name for it, which the archives carry.
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Release:
    """One release archive and the sha256 that it must have."""

    version: str
    platform: str
    sha256: str

    @property
    def title(self) -> str:
        """The archive's name without `.tar.gz`, which is also the name of the folder inside it."""
        return f"prometheus-{self.version}.{self.platform}"

    def url(self, mirror: str | None = None) -> str:
        """The URL of the archive, at GitHub or a mirror with the same paths. Raises FetchFailed for plain http."""
        base = _check_mirror(mirror or OFFICIAL)
        return f"{base}/v{self.version}/{self.title}.tar.gz"


def load_releases() -> list[Release]:
    """Every release in `releases.toml`."""
    text = files("gatewayz_demo").joinpath("releases.toml").read_text(encoding="utf-8")
    return [Release(**row) for row in tomllib.loads(text)["release"]]


def detect_platform() -> str:
    """This machine as the release archives name it, such as linux-amd64."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"


def find_release(releases: Sequence[Release]) -> Release | None:
    """The release for this machine, if there is one."""
    here = detect_platform()
    return next((each for each in releases if each.platform == here), None)


def unpack_release(release: Release, into: Path, *, mirror: str | None = None) -> None:
    """Downloads a release, checks its sha256 and unpacks it into a folder. Raises FetchFailed."""
    url = release.url(mirror)
    with tempfile.TemporaryFile(dir=into.parent) as archive:
        digest = _download(url, archive)
        if digest != release.sha256:
            raise FetchFailed(f"{url} has the sha256 {digest}, not the pinned {release.sha256}.")
        archive.seek(0)
        _extract(archive, into, url)


def _download(url: str, archive: IO[bytes]) -> str:
    """Writes the content of a URL to a file and returns its sha256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT) as response:  # noqa: S310  # _check_mirror allows web addresses only
            while chunk := response.read(CHUNK):
                digest.update(chunk)
                archive.write(chunk)
                if archive.tell() > LIMIT:
                    raise FetchFailed(f"{url} is longer than {LIMIT} bytes.")
            expected = int(response.headers.get("Content-Length") or archive.tell())
    except urllib.error.HTTPError as exc:
        exc.close()
        raise FetchFailed(f"{url} answered {exc.code}.") from exc
    except (OSError, HTTPException) as exc:
        raise FetchFailed(f"{url} cannot be reached: {exc}.") from exc
    if archive.tell() < expected:
        raise FetchFailed(f"{url} ended after {archive.tell()} of {expected} bytes.")
    return digest.hexdigest()


def _extract(archive: IO[bytes], into: Path, url: str) -> None:
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            for member in tar:
                _extract_member(tar, member, into)
    except (tarfile.TarError, OSError, EOFError) as exc:
        raise FetchFailed(f"{url} cannot be unpacked: {exc}.") from exc


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Write a file or a folder below `into`. Raises TarError for everything else: a release has no links.

    `extractall(filter="data")` does the like, but Python 3.11.2, which Debian 12 has, knows no `filter`.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise tarfile.TarError(f"{member.name!r} is outside the folder")
    target = into / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _check_mirror(base: str) -> str:
    parts = urlsplit(base)
    # Plain http on loopback alone: the tests serve their mirror there.
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return base.rstrip("/")
    raise FetchFailed(f"PROMETHEUS_MIRROR must be an https address, not {base!r}.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
