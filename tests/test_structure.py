"""Imports go down the layers, no circle closes, one name means one class, and a warm answer has a short way."""

from pathlib import Path

import pytest

from tests.support import structure
from tests.support.structure import SourceModule
from tests.support.trace_modules import trace_requests

MODULES = structure.read_modules()

SERVICE = "api/gatewayz_metrics"


def written(path: str, text: str) -> list[SourceModule]:
    """One module that is not there, beside those that are."""
    folder = next(folder for folder in structure.FOLDERS.values() if path.startswith(folder))
    package = Path(folder).name
    name = ".".join([package, *Path(path).relative_to(folder).with_suffix("").parts])
    return [module for module in MODULES if module.name != name] + [SourceModule(name, Path(path), text)]


def wrong(path: str, text: str) -> list[str]:
    """What is said about one module."""
    return [sentence for sentence in structure.find_wrong_imports(written(path, text)) if sentence.startswith(path)]


def test_every_import_goes_down_the_layers() -> None:
    wrong_imports = structure.find_wrong_imports(MODULES)

    assert not wrong_imports, "\n".join(wrong_imports)


def test_no_module_imports_itself_through_others() -> None:
    assert structure.find_circle(MODULES) == []


def test_every_module_stands_in_a_layer() -> None:
    assert structure.find_layerless(MODULES) == []


def test_two_public_classes_never_share_a_name() -> None:
    assert {name: places for name, places in structure.public_classes(MODULES).items() if len(places) > 1} == {}


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        (
            f"{SERVICE}/operations/new.py",
            "from gatewayz_metrics.json_datasource import routes",
            f"{SERVICE}/operations/new.py:1: gatewayz_metrics.operations.new imports "
            "gatewayz_metrics.json_datasource.routes, but metrics_api, prometheus_api, json_datasource and operations "
            "do not import one another; what two of them need belongs further down.",
        ),
        (f"{SERVICE}/upstream/new.py", "import gatewayz_metrics.query", "upstream (the upstream) is below query (the "),
        (f"{SERVICE}/security.py", "from gatewayz_metrics.query import Reading", "do not import one another"),
        (f"{SERVICE}/promql/new.py", "from ..catalogue import load", "promql (PromQL) is below catalogue"),
        (f"{SERVICE}/errors.py", "from gatewayz_metrics import settings", "is below settings (the settings)"),
        (f"{SERVICE}/http/new.py", "from gatewayz_metrics.metrics_api import docs", "below metrics_api (the surfaces)"),
        (f"{SERVICE}/http/new.py", "from gatewayz_metrics.query import Reading", "http may import only service, secu"),
        (f"{SERVICE}/service.py", "import typing\nif typing.TYPE_CHECKING:\n    import gatewayz_metrics.cli", ":3: "),
        (f"{SERVICE}/service.py", "def f():\n    from gatewayz_metrics import cli", ":2: "),
        (f"{SERVICE}/service.py", "from gatewayz_metrics.lumber import plank", "lumber stands in no layer; add it to"),
        (f"{SERVICE}/lumber.py", "import gatewayz_metrics.errors", "lumber stands in no layer; add it to LAYERS in"),
        (f"{SERVICE}/cli.py", "from gatewayz_demo.run import embedded_upstream", "inside the function that starts it"),
        (f"{SERVICE}/check.py", "def f():\n    import gatewayz_demo.run", "started by cli and imported by nothing el"),
        (
            f"{SERVICE}/http/new.py",
            "from gatewayz_metrics.server import serve",
            "the server is for cli and worker alone",
        ),
        (
            f"{SERVICE}/integration.py",
            "from gatewayz_metrics.server.serve import serve",
            "the server is for cli and worker alone",
        ),
        (f"{SERVICE}/main.py", "from dashboards import generate", "the dashboards are a generator of files"),
        ("api/gatewayz_demo/run.py", "from gatewayz_metrics.errors import ServiceError", "never imports the service"),
        (
            "dashboards/slo.py",
            "import gatewayz_metrics.promql.lexer",
            "only catalogue, promql.build, telemetry and errors",
        ),
        (
            "dashboards/slo.py",
            "from gatewayz_metrics import Settings",
            "only catalogue, promql.build, telemetry and errors",
        ),
        ("dashboards/slo.py", "from gatewayz_demo import topology", "started by cli and imported by nothing else"),
    ],
)
def test_a_wrong_import_is_named_with_its_reason(path: str, text: str, sentence: str) -> None:
    found = wrong(path, text)

    assert len(found) == 1
    assert sentence in found[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{SERVICE}/json_datasource/new.py", "from gatewayz_metrics.json_datasource import routes, query"),
        (f"{SERVICE}/main.py", "from gatewayz_metrics.integration import setup_prometheus_routes"),
        (f"{SERVICE}/settings.py", "from gatewayz_metrics.telemetry import Telemetry"),
        (f"{SERVICE}/http/new.py", "from gatewayz_metrics.service import Service\nimport gatewayz_metrics.errors"),
        (f"{SERVICE}/cli.py", "def demo():\n    from gatewayz_demo.run import embedded_upstream"),
        ("dashboards/slo.py", "from gatewayz_metrics.promql import build\nimport gatewayz_metrics.catalogue.load"),
        ("dashboards/slo.py", "from dashboards.boards import http"),
    ],
)
def test_an_import_that_the_rules_allow_is_not_named(path: str, text: str) -> None:
    assert wrong(path, text) == []


def test_a_circle_is_found() -> None:
    modules = [
        SourceModule("gatewayz_demo.hen", Path("hen.py"), "from gatewayz_demo import egg"),
        SourceModule("gatewayz_demo.egg", Path("egg.py"), "def hatch():\n    import gatewayz_demo.hen"),
    ]

    assert set(structure.find_circle(modules)) == {"gatewayz_demo.hen", "gatewayz_demo.egg"}


def test_a_module_that_imports_nothing_needs_a_layer_too() -> None:
    assert structure.find_layerless(written(f"{SERVICE}/lumber.py", "")) == [
        "api/gatewayz_metrics/lumber.py stands in no layer; add lumber to LAYERS in tests/support/structure.py."
    ]


def test_the_table_counts_modules_that_import_one_another() -> None:
    modules = [
        SourceModule("gatewayz_metrics.query", Path("query.py"), "from gatewayz_metrics.promql import lexer, parser"),
        SourceModule("gatewayz_metrics.promql.lexer", Path("lexer.py"), ""),
        SourceModule("gatewayz_metrics.promql.parser", Path("parser.py"), "import gatewayz_metrics.promql.lexer"),
    ]

    assert [line.split() for line in structure.render_table(modules)][1:] == [
        ["1", "query", "-", "2"],
        ["2", "promql", ".", "-"],
    ]


def test_the_tree_sums_up_lines() -> None:
    lines = list(structure.render_tree(MODULES))

    assert lines[-1].split()[2:] == [str(len(MODULES)), "modules", f"{sum(m.lines for m in MODULES):,}", "lines"]


def test_a_warm_answer_does_not_go_to_the_upstream() -> None:
    traces = trace_requests()

    assert "upstream.client" in traces["/query, PromQL text"].calls
    for name in ("instant query, cached", "/query, the same again", "summary, warm"):
        assert "upstream.client" not in traces[name].calls
        assert 0 < traces[name].moves < traces["/query, PromQL text"].moves
