"""Finding engine binaries: on this machine, or fetched into the cache folder once.

The order: the environment variable that names one, `PATH`, the cache folder, the distribution's packages,
the official release.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gatewayz_demo import fetch
from gatewayz_demo.errors import EngineUnavailable, FetchFailed
from gatewayz_demo.fetch import Packages, Progress, Release, ignore_progress
from gatewayz_demo.work import Work


@dataclass(frozen=True)
class Engine:
    """An executable binary and the environment variables it needs besides those of this process."""

    name: str
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The complete environment for its process."""
        return {**os.environ, **self.env}

    def version(self) -> str:
        """The version that `--version` reports, or "of unknown version" where it was built without one."""
        command, env = [str(self.path), "--version"], self.environment()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # found by find()
        # Further lines have the version of Go.
        first = (done.stdout + done.stderr).partition("\n")[0]
        match = re.search(r"\d+\.\d+\.\d+", first)
        return match[0] if match else "of unknown version"


@dataclass(frozen=True)
class Recipe:
    """How one program is found or fetched.

    `variable` is the environment variable that names its binary, `bundle` the name under which its
    packages are cached, `neighbour` a program in whose folder it may lie, `remedy` the ways to have it that the
    error names before the last one, which is the variable.
    """

    program: str
    variable: str
    bundle: str
    packages: tuple[str, ...]
    has_release: bool = False
    neighbour: str | None = None
    remedy: str = ""

    @property
    def tree(self) -> str:
        """The cache's folder for its unpacked packages; machines of several kinds may share a home folder."""
        return f"{self.bundle}-debian-{platform.machine()}"


# Beside the packages and releases that this module fetches.
_WAYS = (
    "install it (brew install prometheus), build it with Go in a checkout of github.com/prometheus/prometheus (go "
    "build ./cmd/prometheus ./cmd/promtool) and put both into PATH, run all of this in Docker (docker compose up "
    "--build), name a running server with PROMETHEUS_URL, or "
)

PROMETHEUS = Recipe(
    "prometheus",
    "PROMETHEUS_BIN",
    "prometheus",
    ("prometheus",),
    has_release=True,
    remedy=_WAYS,
)
PROMTOOL = Recipe("promtool", "PROMTOOL_BIN", "prometheus", ("prometheus",), has_release=True, neighbour="prometheus")
VICTORIA_METRICS = Recipe("victoria-metrics", "VICTORIA_METRICS_BIN", "victoria-metrics", ("victoria-metrics",))
RECIPES = {recipe.program: recipe for recipe in (PROMETHEUS, PROMTOOL, VICTORIA_METRICS)}


def find_engine(
    engine: str,
    *,
    progress: Progress = ignore_progress,
    environ: Mapping[str, str] = os.environ,
    work: Work | None = None,
) -> Engine:
    """The binary of `prometheus`, `promtool` or `victoria-metrics`, fetched when this machine has none.

    Raises EngineUnavailable, or Abandoned with the work.
    """
    return Finder(environ, progress, fetch.load_releases(), work or Work()).find(RECIPES[engine])


@dataclass(frozen=True)
class Finder:
    """Looks for binaries in the places that an environment names."""

    environ: Mapping[str, str]
    progress: Progress = ignore_progress
    releases: Sequence[Release] = ()
    work: Work = field(default_factory=Work)

    def find(self, recipe: Recipe) -> Engine:
        """The first executable binary, in the order of the module's docstring. Raises EngineUnavailable."""
        return self._find_named(recipe) or self._find_installed(recipe) or self._find_cached_or_fetch(recipe)

    def _find_named(self, recipe: Recipe) -> Engine | None:
        """The binary that its variable names, or the one beside a neighbour that a variable names."""
        if named := self.environ.get(recipe.variable):
            if _is_executable(Path(named)):
                return Engine(recipe.program, Path(named))
            why = f"{recipe.variable} names {named}, which is no executable file"
            raise EngineUnavailable(f"{why}; correct or unset it.")
        neighbour = self.environ.get(RECIPES[recipe.neighbour].variable) if recipe.neighbour else None
        return _find_beside(recipe, neighbour)

    def _find_installed(self, recipe: Recipe) -> Engine | None:
        path = self.environ.get("PATH", os.defpath)
        if on_path := shutil.which(recipe.program, path=path):
            return Engine(recipe.program, Path(on_path))
        return _find_beside(recipe, shutil.which(recipe.neighbour, path=path) if recipe.neighbour else None)

    def _find_cached_or_fetch(self, recipe: Recipe) -> Engine:
        cache = fetch.create_cache_folder(self.environ) / "engines"
        cache.mkdir(exist_ok=True)
        if found := self._find_cached(recipe, cache):
            return found
        with fetch.lock(cache / f"{recipe.bundle}.lock"):
            # Another process may have fetched it while this one waited.
            return self._find_cached(recipe, cache) or self._fetch(recipe, cache)

    def _find_cached(self, recipe: Recipe, cache: Path) -> Engine | None:
        tree = cache / recipe.tree
        if _is_executable(path := tree / "usr/bin" / recipe.program):
            return Engine(recipe.program, path, _library_path(tree))
        if recipe.has_release and (release := fetch.find_release(self.releases)):
            return _find_beside(recipe, str(cache / release.title / release.title / recipe.program))
        return None

    def _fetch(self, recipe: Recipe, cache: Path) -> Engine:
        reasons = []
        # Packages first: apt verifies them with keys of this system, and releases are pinned for few platforms.
        for attempt in (self._fetch_packages, self._fetch_release):
            try:
                attempt(recipe, cache)
            except FetchFailed as exc:
                reasons.append(str(exc))
            if found := self._find_cached(recipe, cache):
                return found
        remedy = f"{recipe.remedy}set {recipe.variable} to a binary"
        why = f"{recipe.program} is not installed and cannot be fetched; {remedy}."
        # Elsewhere there was nothing to try, and the remedy says it all.
        raise EngineUnavailable(" ".join([why, *reasons] if platform.system() == "Linux" else [why]))

    def _fetch_packages(self, recipe: Recipe, cache: Path) -> None:
        packages = Packages(self.environ, self.progress, self.work)
        packages.check()
        self.progress(f"Fetching {recipe.bundle} from the distribution's packages ...")
        fetch.create_folder(cache / recipe.tree, lambda tree: packages.unpack(recipe.packages, tree), self.work)

    def _fetch_release(self, recipe: Recipe, cache: Path) -> None:
        release = fetch.find_release(self.releases) if recipe.has_release else None
        if not release:
            raise FetchFailed(f"No official release of {recipe.bundle} is pinned for {fetch.detect_platform()}.")
        mirror = self.environ.get("PROMETHEUS_MIRROR")
        self.progress(f"Fetching {release.url(mirror)} ...")

        def unpack(tree: Path) -> None:
            fetch.unpack_release(release, tree, mirror=mirror)

        fetch.create_folder(cache / release.title, unpack, self.work)


def _find_beside(recipe: Recipe, neighbour: str | None) -> Engine | None:
    path = Path(neighbour).resolve().with_name(recipe.program) if neighbour else None
    return Engine(recipe.program, path) if path and _is_executable(path) else None


def _library_path(tree: Path) -> dict[str, str]:
    """LD_LIBRARY_PATH for shared libraries that were unpacked beside a binary."""
    libraries = [str(path) for path in sorted(tree.glob("usr/lib/*-linux-*")) if path.is_dir()]
    return {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
