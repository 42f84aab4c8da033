"""The environments besides the newest: what hosts have installed, and which tests are run there."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

# Whatever touches an interface of a dependency: imports, routes, settings, credentials, the client, the command.
SUBSET = (
    "tests/hosts",
    "tests/test_packaging.py",
    "tests/test_integration.py",
    "tests/test_settings.py",
    "tests/test_security.py",
    "tests/test_cli.py",
    "tests/test_query.py",
    "tests/metrics_api/test_summary.py",
    "tests/metrics_api/test_text_routes.py",
    "tests/prometheus_api/test_routes.py",
    "tests/json_datasource/test_routes.py",
    "tests/operations/test_openapi.py",
    "tests/server",
    "tests/upstream/test_client.py",
    "tests/upstream/test_response_body.py",
)
# A host has a server and a command of its own.
IN_A_HOST = tuple(name for name in SUBSET if name not in ("tests/server", "tests/test_cli.py"))
HOSTS = ("tests/hosts", "tests/test_packaging.py")
# Unpacking of the demo's engine, which Python 3.11.2 does otherwise.
ENGINES = "tests/gatewayz_demo/test_engines.py"


@dataclass(frozen=True)
class Environment:
    """Packages that are there first, as in a host; then ours come, and tests run."""

    name: str
    packages: tuple[str, ...] = ()
    tests: tuple[str, ...] = HOSTS
    python: str = ""
    """The interpreter's version such as 3.11; empty for the one that makes the environment."""
    lock: str = ""
    """A file with the versions and hashes of everything, which is installed first."""
    path: str = ""
    """A folder of this repository that comes first in the search for modules."""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return REPOSITORY / f".venv-{self.name}"

    @property
    def variables(self) -> dict[str, str]:
        """What the processes of its tests are given."""
        return {"PYTHONPATH": str(REPOSITORY / self.path) if self.path else ""}


def floors() -> tuple[str, ...]:
    """The lowest version that we declare of every dependency, as pins."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    return tuple(re.sub(r"\[.*\]", "", each).replace(">=", "==") for each in declared)


LOCK = "requirements.lock"


def locked() -> tuple[str, ...]:
    """Every version that the lock names, as pins with the platforms that they are for."""
    lines = (REPOSITORY / LOCK).read_text("utf-8").splitlines()
    return tuple(line.removesuffix(" \\") for line in lines if line and not line.startswith((" ", "#")))


# requirements.txt of the GatewayZ backend, as far as it has to do with ours.
BACKEND = (
    "fastapi>=0.115,<0.116",
    "uvicorn==0.24.0",
    "httpx==0.27.0",
    "pydantic[email]==2.12.2",
    "prometheus-client==0.21.0",
    "openai==1.44.0",
    "python-dotenv==1.0.0",
    "python-multipart==0.0.6",
    "anyio>=4.0.0",
)

ENVIRONMENTS = (
    # Python 3.11 is the lowest, and the only one for which every floor has a wheel.
    Environment("oldest", floors(), SUBSET, python="3.11"),
    Environment("backend", BACKEND, (*IN_A_HOST, "tests/environments/backend.py")),
    # What the image installs.
    Environment("locked", (*locked(), "httpx2"), (*HOSTS, "tests/test_cli.py", "tests/server"), lock=LOCK),
    # The newest, on a Python that lacks what 3.11.2 lacks.
    Environment("py3112", ("httpx2",), (*SUBSET, ENGINES), python="3.11", path="tests/environments/python3112"),
    # The backend's other list of requirements.
    Environment("fastapi-0.104", ("fastapi==0.104.1", "httpx==0.27.0", "prometheus-client==0.21.0", "uvicorn==0.24.0")),
    # FastAPI keeps included routers in another way from 0.137 on.
    Environment("fastapi-0.136", ("fastapi==0.136.3", "httpx2")),
    Environment("fastapi-0.137", ("fastapi==0.137.0", "httpx2")),
    Environment("instrumentator-7.0", ("fastapi>=0.115,<0.116", "prometheus-fastapi-instrumentator==7.0.0")),
    Environment("instrumentator-7.1", ("fastapi==0.163.2", "httpx2", "prometheus-fastapi-instrumentator==7.1.0")),
    # This one counts a task's cancellations wrongly.
    Environment("anyio-4.3", ("fastapi>=0.115,<0.116", "anyio==4.3.0"), (*HOSTS, "tests/upstream/test_client.py")),
)
