"""The structure of the code: its modules, their lines, and which way their imports go.

`make structure` prints the tree with line counts and the imports between packages as a table.
`find_wrong_imports` names every import that breaks a rule. The rules are the table LAYERS and the
functions below it. Imports under `if TYPE_CHECKING` and inside functions count like all others.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE, DEMO, DASHBOARDS = "gatewayz_metrics", "gatewayz_demo", "dashboards"
FOLDERS = {SERVICE: "api/gatewayz_metrics", DEMO: "api/gatewayz_demo", DASHBOARDS: "dashboards"}


@dataclass(frozen=True)
class Layer:
    """Parts of the service on one level: each imports what stands below.

    A part is a package or a single module in the service's top folder.
    """

    name: str
    parts: tuple[str, ...]
    # Whether the parts may import one another.
    sideways: bool = False
    # The only parts of the service that these may import; None stands for everything below.
    only: tuple[str, ...] | None = None


LAYERS = (
    Layer(
        "the ways in", (SERVICE, "__main__", "cli", "commands", "main", "worker", "check", "integration"), sideways=True
    ),
    Layer("the server", ("server",)),
    Layer("the surfaces", ("metrics_api", "prometheus_api", "json_datasource", "operations")),
    Layer(
        "http",
        ("http",),
        only=(
            "service",
            "security",
            "settings",
            "telemetry",
            "memory",
            "errors",
            "validation",
            "bounded_store",
            "lease",
            "logs",
        ),
    ),
    Layer("the service", ("service",)),
    Layer("the query layer", ("query", "range_cache", "security", "access", "caller_limits")),
    Layer("the query plan", ("query_plan",)),
    Layer("the upstream", ("upstream",)),
    Layer(
        "the settings",
        ("settings", "host_settings", "setting_names", "telemetry", "measurements", "siblings", "engines"),
        sideways=True,
    ),
    Layer("the catalogue", ("catalogue",)),
    Layer("PromQL", ("promql",)),
    Layer("files", ("watched_files",)),
    Layer("the memory budget", ("memory",)),
    Layer("the ground", ("errors", "validation", "cooperative", "bounded_store", "lease", "logs", "event_loop")),
)
# What the generator of the dashboards may know of the service.
FOR_DASHBOARDS = ("catalogue", "promql.build", "telemetry", "errors")

_LEVELS = {part: level for level, layer in enumerate(LAYERS) for part in layer.parts}
_ORDER = [*_LEVELS, DEMO, DASHBOARDS]


@dataclass(frozen=True)
class SourceModule:
    """One file of Python, by its dotted name and its path from the repository's root."""

    name: str
    path: Path
    text: str

    @property
    def lines(self) -> int:
        """How many lines it has, empty ones included."""
        return len(self.text.splitlines())

    @property
    def package(self) -> str:
        """What relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, str(self.path))


@dataclass(frozen=True)
class ModuleImport:
    """One module that imports another, both by their dotted names."""

    importer: str
    imported: str
    where: str
    lazy: bool  # inside a function


def read_modules(root: Path = ROOT) -> list[SourceModule]:
    """Every module of the service, the demo and the dashboards."""
    return [
        SourceModule(_dotted(package, path.relative_to(root / folder)), path.relative_to(root), path.read_text("utf-8"))
        for package, folder in FOLDERS.items()
        for path in sorted((root / folder).rglob("*.py"))
    ]


def _dotted(package: str, path: Path) -> str:
    return ".".join([package, *path.with_suffix("").parts]).removesuffix(".__init__")


# --------------------------------------------------------------------------- imports


def read_imports(modules: Iterable[SourceModule]) -> list[ModuleImport]:
    """Every import of one of our own modules by another."""
    modules = list(modules)
    names = {module.name for module in modules}
    return [found for module in modules for found in _imports_of(module, names)]


def _imports_of(module: SourceModule, names: set[str]) -> Iterator[ModuleImport]:
    for statement, lazy in _import_statements(module.tree):
        # `from package import name` means the module of that name, where there is one.
        for imported in dict.fromkeys(_imported_by(statement, module, names)):
            if imported.partition(".")[0] in FOLDERS:
                yield ModuleImport(module.name, imported, f"{module.path}:{statement.lineno}", lazy)


def _import_statements(node: ast.AST, *, lazy: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        else:
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_statements(child, lazy=inside)


def _imported_by(statement: ast.Import | ast.ImportFrom, module: SourceModule, names: set[str]) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = resolve_name("." * statement.level + (statement.module or ""), module.package)
    for alias in statement.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in names else base


def part_of(module: str) -> str:
    """The part of the service that a module belongs to, or the other package that it is of."""
    package, *inner = module.split(".")
    return inner[0] if package == SERVICE and inner else package


# --------------------------------------------------------------------------- rules


def find_wrong_imports(modules: Iterable[SourceModule]) -> list[str]:
    """A sentence per import that breaks a rule: where it stands, what it imports, why not."""
    return [
        f"{found.where}: {found.importer} imports {found.imported}, but {reason}."
        for found in read_imports(modules)
        if (reason := _objection(found))
    ]


def _objection(found: ModuleImport) -> str:
    """Why an import should not be, or nothing."""
    importer, imported = found.importer.partition(".")[0], found.imported.partition(".")[0]
    if importer == imported:
        return (_objection_to_server(found) or _objection_within_service(found)) if importer == SERVICE else ""
    if imported == DEMO:
        return _objection_to_demo(found)
    if imported == DASHBOARDS:
        return "the dashboards are a generator of files, which nothing imports and no wheel contains"
    if importer == DEMO:
        return "the demo plays the gateway that is measured, so it never imports the service"
    allowed = tuple(f"{SERVICE}.{name}" for name in FOR_DASHBOARDS)
    if found.imported in allowed or found.imported.startswith(tuple(f"{name}." for name in allowed)):
        return ""
    return f"the dashboards know of the service only {_listed(FOR_DASHBOARDS)}"


def _objection_to_demo(found: ModuleImport) -> str:
    if found.importer != f"{SERVICE}.cli":
        return "the demo is started by cli and imported by nothing else"
    return "" if found.lazy else "cli imports the demo inside the function that starts it, as it needs Unix"


def _objection_to_server(found: ModuleImport) -> str:
    if part_of(found.imported) != "server" or part_of(found.importer) in ("server", "cli", "worker"):
        return ""
    return "the server is for cli and worker alone: a host application has one, and no granian"


def _objection_within_service(found: ModuleImport) -> str:
    importer, imported = part_of(found.importer), part_of(found.imported)
    unknown = [part for part in (importer, imported) if part not in _LEVELS]
    if unknown:
        return f"{unknown[0]} stands in no layer; add it to LAYERS in tests/support/structure.py"
    above, below = LAYERS[_LEVELS[importer]], LAYERS[_LEVELS[imported]]
    if importer == imported or (above is below and above.sideways):
        return ""
    if above is below:
        return f"{_listed(above.parts)} do not import one another; what two of them need belongs further down"
    if _LEVELS[importer] > _LEVELS[imported]:
        return f"imports go down only, and {importer} ({above.name}) is below {imported} ({below.name})"
    if above.only is not None and imported not in above.only:
        return f"{importer} may import only {_listed(above.only)}"
    return ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]])


def find_circle(modules: Iterable[SourceModule]) -> list[str]:
    """The modules of one circle of imports, or nothing."""
    graph: dict[str, set[str]] = {}
    for found in read_imports(modules):
        graph.setdefault(found.importer, set()).add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        circle: list[str] = exc.args[1]
        return circle
    return []


def find_layerless(modules: Iterable[SourceModule]) -> list[str]:
    """A sentence per module of the service that stands in no layer."""
    return [
        f"{module.path} stands in no layer; add {part_of(module.name)} to LAYERS in tests/support/structure.py."
        for module in modules
        if module.name.partition(".")[0] == SERVICE and part_of(module.name) not in _LEVELS
    ]


def public_classes(modules: Iterable[SourceModule]) -> dict[str, list[str]]:
    """Where each public class is defined, by its name."""
    found: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(f"{module.path}:{node.lineno}")
    return found


# --------------------------------------------------------------------------- what is printed


def render_tree(modules: Sequence[SourceModule]) -> Iterator[str]:
    """Folders and files with their lines; a folder has the sum of what is in it."""
    for folder in FOLDERS.values():
        yield from _render_folder(Path(folder), modules, 0)
    yield f"{'in all':<44}{len(modules):>4} modules {_lines(modules):>7,} lines"


def _render_folder(folder: Path, modules: Sequence[SourceModule], depth: int) -> Iterator[str]:
    inside = [module for module in modules if module.path.is_relative_to(folder)]
    title = f"{'  ' * depth}{folder.name if depth else folder}/"
    yield f"{title:<44}{len(inside):>4} modules {_lines(inside):>7,} lines"
    for module in inside:
        if module.path.parent == folder:
            yield f"{'  ' * (depth + 1) + module.path.name:<44}{'':>12} {module.lines:>7,}"
    for child in sorted({folder / module.path.relative_to(folder).parts[0] for module in inside}):
        if child.suffix != ".py":
            yield from _render_folder(child, inside, depth + 1)


def _lines(modules: Iterable[SourceModule]) -> int:
    return sum(module.lines for module in modules)


def render_table(modules: Iterable[SourceModule]) -> Iterator[str]:
    """Pairs of modules that import one another, counted by package: importers are rows, imported are columns.

    Rows and columns stand in the order of the layers, so whatever is left of the diagonal points upwards.
    """
    pairs = {(found.importer, found.imported) for found in read_imports(modules)}
    counts = Counter((part_of(importer), part_of(imported)) for importer, imported in pairs)
    parts = sorted({part for pair in counts for part in pair}, key=lambda part: (_place(part), part))
    numbers = range(1, len(parts) + 1)
    yield f"{'imports (rows) of (columns)':<28}" + "".join(f"{number:>4}" for number in numbers)
    for number, importer in zip(numbers, parts, strict=True):
        cells = (counts[importer, imported] if importer != imported else "-" for imported in parts)
        yield f"{number:>2} {importer:<25}" + "".join(f"{cell or '.':>4}" for cell in cells)


def _place(part: str) -> int:
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)


if __name__ == "__main__":
    found = read_modules()
    print("\n".join([*render_tree(found), "", *render_table(found), "", *find_wrong_imports(found)]))  # noqa: T201
