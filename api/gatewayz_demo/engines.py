"""Engine binaries: found on this machine, or fetched into the cache once.

The order: the variable that names one, `PATH`, the cache, the distribution's packages, the official release.
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


@dataclass(frozen=True)
class Engine:
    """A binary that can be run, with the environment it needs besides ours."""

    name: str
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The whole environment of its process."""
        return {**os.environ, **self.env}

    def version(self) -> str:
        """The version it reports, or a question mark."""
        command, env = [str(self.path), "--version"], self.environment()
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # found by find()
        match = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        return match[0] if match else "?"


@dataclass(frozen=True)
class Recipe:
    """How one program is found or fetched."""

    program: str
    variable: str
    bundle: str
    packages: tuple[str, ...]
    has_release: bool = False
    neighbour: str | None = None
    remedy: str = ""

    @property
    def tree(self) -> str:
        """The name of its unpacked packages in the cache, which machines may share."""
        return f"{self.bundle}-debian-{platform.machine()}"


PROMETHEUS = Recipe(
    "prometheus",
    "PROMETHEUS_BIN",
    "prometheus",
    ("prometheus",),
    has_release=True,
    remedy=", or PROMETHEUS_URL to a running server",
)
PROMTOOL = Recipe("promtool", "PROMTOOL_BIN", "prometheus", ("prometheus",), has_release=True, neighbour="prometheus")
VICTORIA_METRICS = Recipe("victoria-metrics", "VICTORIA_METRICS_BIN", "victoria-metrics", ("victoria-metrics",))
RECIPES = {recipe.program: recipe for recipe in (PROMETHEUS, PROMTOOL, VICTORIA_METRICS)}


def find_engine(
    engine: str, *, progress: Progress = ignore_progress, environ: Mapping[str, str] = os.environ
) -> Engine:
    """The binary of an engine, fetched when this machine has none."""
    return Finder(environ, progress, fetch.table()).find(RECIPES[engine])


@dataclass(frozen=True)
class Finder:
    """A search through the places an environment names."""

    environ: Mapping[str, str]
    progress: Progress = ignore_progress
    releases: Sequence[Release] = ()

    def find(self, recipe: Recipe) -> Engine:
        """The first that runs, in order of the places."""
        return self._named(recipe) or self._installed(recipe) or self._cached_or_fetched(recipe)

    def _named(self, recipe: Recipe) -> Engine | None:
        """What a variable names, or what lies beside a neighbour it names."""
        if named := self.environ.get(recipe.variable):
            if _runs(Path(named)):
                return Engine(recipe.program, Path(named))
            why = f"{recipe.variable} names {named}, which is no executable file"
            raise EngineUnavailable(f"{why}; correct or unset it.")
        neighbour = self.environ.get(RECIPES[recipe.neighbour].variable) if recipe.neighbour else None
        return _beside(recipe, neighbour)

    def _installed(self, recipe: Recipe) -> Engine | None:
        path = self.environ.get("PATH", os.defpath)
        if on_path := shutil.which(recipe.program, path=path):
            return Engine(recipe.program, Path(on_path))
        return _beside(recipe, shutil.which(recipe.neighbour, path=path) if recipe.neighbour else None)

    def _cached_or_fetched(self, recipe: Recipe) -> Engine:
        shelf = fetch.folder(self.environ) / "engines"
        shelf.mkdir(exist_ok=True)
        if found := self._cached(recipe, shelf):
            return found
        with fetch.locked(shelf / f"{recipe.bundle}.lock"):
            # Somebody else may have fetched it while this process waited.
            return self._cached(recipe, shelf) or self._fetched(recipe, shelf)

    def _cached(self, recipe: Recipe, shelf: Path) -> Engine | None:
        tree = shelf / recipe.tree
        if _runs(path := tree / "usr/bin" / recipe.program):
            return Engine(recipe.program, path, _library_path(tree))
        if recipe.has_release and (chosen := fetch.for_this_machine(self.releases)):
            return _beside(recipe, str(shelf / chosen.title / chosen.title / recipe.program))
        return None

    def _fetched(self, recipe: Recipe, shelf: Path) -> Engine:
        reasons = []
        for attempt in (self._fetch_packages, self._fetch_release):
            try:
                attempt(recipe, shelf)
            except FetchFailed as exc:
                reasons.append(str(exc))
            if found := self._cached(recipe, shelf):
                return found
        remedy = f"set {recipe.variable} to a binary{recipe.remedy}"
        why = f"{recipe.program} is not installed and cannot be fetched; {remedy}."
        raise EngineUnavailable(" ".join([why, *reasons]))

    def _fetch_packages(self, recipe: Recipe, shelf: Path) -> None:
        self.progress(f"Fetching {recipe.bundle} from the distribution's packages ...")
        packages = Packages(self.environ, self.progress)
        fetch.adopt(shelf / recipe.tree, lambda tree: packages.unpack(recipe.packages, tree))

    def _fetch_release(self, recipe: Recipe, shelf: Path) -> None:
        chosen = fetch.for_this_machine(self.releases) if recipe.has_release else None
        if not chosen:
            raise FetchFailed(f"No official release of {recipe.bundle} is pinned for {fetch.platform_name()}.")
        mirror = self.environ.get("PROMETHEUS_MIRROR")
        self.progress(f"Fetching {chosen.url(mirror)} ...")
        fetch.adopt(shelf / chosen.title, lambda tree: fetch.unpack(chosen, tree, mirror=mirror))


def _beside(recipe: Recipe, neighbour: str | None) -> Engine | None:
    path = Path(neighbour).resolve().with_name(recipe.program) if neighbour else None
    return Engine(recipe.program, path) if path and _runs(path) else None


def _library_path(tree: Path) -> dict[str, str]:
    libraries = [str(path) for path in sorted(tree.glob("usr/lib/*-linux-*")) if path.is_dir()]
    return {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
