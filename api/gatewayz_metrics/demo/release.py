"""Prometheus from its official release archive, accepted only with the pinned hash."""

import hashlib
import ipaddress
import platform
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from gatewayz_metrics.demo.errors import FetchFailed

OFFICIAL = "https://github.com/prometheus/prometheus/releases/download"
TIMEOUT = 30.0
LIMIT = 400 * 1024 * 1024
CHUNK = 1024 * 1024
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Release:
    """One archive and the hash it must have."""

    version: str
    platform: str
    sha256: str

    @property
    def title(self) -> str:
        """The archive's name without its ending, which is also the folder inside it."""
        return f"prometheus-{self.version}.{self.platform}"

    def url(self, mirror: str | None = None) -> str:
        """Where the archive is, at the official place or a mirror laid out like it."""
        base = _checked(mirror or OFFICIAL)
        return f"{base}/v{self.version}/{self.title}.tar.gz"


def table() -> list[Release]:
    """Every pinned release."""
    text = files("gatewayz_metrics.demo").joinpath("releases.toml").read_text(encoding="utf-8")
    return [Release(**row) for row in tomllib.loads(text)["release"]]


def platform_name() -> str:
    """This machine in the words of the release archives, such as linux-amd64."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"


def for_this_machine(releases: Sequence[Release]) -> Release | None:
    """The release that runs here, if one is pinned."""
    here = platform_name()
    return next((each for each in releases if each.platform == here), None)


def unpack(release: Release, into: Path, *, mirror: str | None = None) -> None:
    """Downloads, checks and unpacks a release; the folder gets the archive's content."""
    url = release.url(mirror)
    with tempfile.TemporaryFile(dir=into.parent) as archive:
        digest = _download(url, archive)
        if digest != release.sha256:
            raise FetchFailed(f"{url} has the sha256 {digest}, not the pinned {release.sha256}.")
        archive.seek(0)
        _extract(archive, into, url)


def _download(url: str, archive: IO[bytes]) -> str:
    """The sha256 of what was written."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310  # _checked allows web addresses only
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
                archive.write(chunk)
                if archive.tell() > LIMIT:
                    raise FetchFailed(f"{url} is longer than {LIMIT} bytes.")
            expected = int(answer.headers.get("Content-Length") or archive.tell())
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
            tar.extractall(into, filter="data")
    except (tarfile.TarError, OSError, EOFError) as exc:
        raise FetchFailed(f"{url} cannot be unpacked: {exc}.") from exc


def _checked(base: str) -> str:
    parts = urlsplit(base)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return base.rstrip("/")
    raise FetchFailed(f"PROMETHEUS_MIRROR must be an https address, not {base!r}.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
