"""Requests made up from the service's own OpenAPI document get the answers that it promises: attack.md's M9.

https://schemathesis.readthedocs.io: the short form is part of every run, the whole campaign of `make nightly`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from gatewayz_metrics import Settings, create_app
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.engine import Engine
from tests.support.server import listening, running

# Unknown parameters and fields are ignored by decision, such as cache busters; PromQL and times have no schema.
LENIENT = [negative_data_rejection, positive_data_acceptance]
TOKEN = "the-token"
AUTHORIZATION = f"Bearer {TOKEN}"
OPERATIONS = [
    (path, method)
    for path, operations in create_app(Settings(prometheus_url="http://127.0.0.1:9")).openapi()["paths"].items()
    for method in operations
]
# Of other methods for rules Grafana is told "page not found", from which it concludes that there is no ruler.
CONFIGURATION = """
[[operations]]
include-path = "/api/v1/rules"
checks.unsupported_method.enabled = false
"""
# The same requests in every short run.
few = settings(max_examples=10, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)


def settings_of(engine: Engine) -> Settings:
    return Settings.model_validate({"prometheus_url": engine.url, "api_tokens": (TOKEN,)})


@pytest.fixture(scope="module")
def schema(prometheus: Engine) -> Any:
    app = create_app(settings_of(prometheus))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Authorization": AUTHORIZATION})


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=str)
def test_requests_made_from_the_document_are_answered_as_it_says(schema: Any, path: str, method: str) -> None:
    operation = schema[path][method.upper()]

    @few
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def check(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": AUTHORIZATION}, excluded_checks=LENIENT)

    check()


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["prometheus", "victoria_metrics"])
def test_a_campaign_over_the_network_finds_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    engine: Engine = request.getfixturevalue(kind)
    with running(create_app(settings_of(engine)), listening()) as url:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml"),
                *("run", f"{url}/openapi.json", "--header", f"Authorization: {AUTHORIZATION}", "--no-color"),
                *("--exclude-checks", ",".join(check.__name__ for check in LENIENT), "--max-examples", "100"),
            ],
            cwd=tmp_path,
            env=os.environ | {"no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    # All but the route of the document itself.
    assert re.search(rf"Tested: {len(OPERATIONS) - 1}\b", done.stdout), done.stdout
