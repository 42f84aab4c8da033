"""Engines from the packages of Debian and its relatives, unpacked without root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewayz_metrics.demo.errors import FetchFailed
from gatewayz_metrics.demo.say import Say, silent

TIMEOUT = 180.0


@dataclass(frozen=True)
class Packages:
    """The distribution's packages, as apt sees them in an environment."""

    environ: Mapping[str, str]
    say: Say = silent

    def unpack(self, names: Sequence[str], into: Path) -> None:
        """Downloads packages and unpacks them into a folder; apt checks their signatures."""
        if not (self._has("apt-get") and self._has("dpkg")):
            raise FetchFailed("This system has no apt-get and dpkg.")
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
            self.say("The system has no fresh package lists; fetching some for this user alone ...")
            own = _private_folders(archives / "apt")
            # One broken source among many fails the update, not the packages of the others.
            self._apt(archives, *own, "update", check=False)
            self._apt(archives, *own, "download", *names)

    def _apt(self, folder: Path, *words: str, check: bool = True) -> None:
        options = {
            # As root, apt would change to a user of its own, who may not write here.
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::Languages": "none",
            "Acquire::Retries": 1,
            "Acquire::http::Timeout": 15,
        }
        self._run(["apt-get", "-q", *_as_words(options), *words], folder, check=check)

    def _run(self, command: list[str], folder: Path, *, check: bool = True) -> None:
        env = {**self.environ, "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603  # fixed programs, package names from our own table
                command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise FetchFailed(f"{command[0]} did not finish: {exc}.") from exc
        if check and done.returncode:
            reason = " ".join(done.stderr.split())[-300:]
            raise FetchFailed(f"{command[0]} ended with code {done.returncode}: {reason}")


def _private_folders(state: Path) -> list[str]:
    """Options under which apt writes nothing outside a folder of ours."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    return _as_words(
        {
            "Dir::State": state,
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": "/var/lib/dpkg/status",
            "Dir::Cache": state / "cache",
        }
    )


def _as_words(options: Mapping[str, object]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
