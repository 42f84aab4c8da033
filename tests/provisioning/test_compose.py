"""The containers: pinned, without rights they do not need, closed to the network, with no secret of their own."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import generate

ROOT = Path(generate.__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SECRETS = ("GATEWAYZ_METRICS_TOKEN", "GRAFANA_PASSWORD")

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def test_the_services() -> None:
    scale = {name for name, service in SERVICES.items() if service.get("profiles") == ["scale"]}

    assert set(SERVICES) - scale == {"gateway", "prometheus", "metrics", "grafana"}
    assert scale == {"victoria", "metrics-replica", "proxy"}


@each_service
def test_a_container_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])


@each_service
def test_a_container_cannot_take_the_whole_machine(service: dict[str, Any]) -> None:
    assert service["mem_limit"]
    assert float(service["cpus"]) <= 2
    assert int(service["pids_limit"]) <= 512


@each_service
def test_an_image_is_pinned(service: dict[str, Any]) -> None:
    if "build" not in service:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", service["image"])


@each_service
def test_a_port_is_open_to_this_machine_alone(service: dict[str, Any]) -> None:
    if service.get("deploy", {}).get("replicas", 1) > 1:
        assert "ports" not in service, "replicas cannot share a port"
    else:
        (port,) = service["ports"]
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_health_is_checked(name: str) -> None:
    assert "healthcheck" in SERVICES[name] or (SERVICES[name]["image"], "HEALTHCHECK" in DOCKERFILE) == (
        "gatewayz-metrics",
        True,
    )
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert condition == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_has_no_default_and_must_be_set(name: str) -> None:
    uses = re.findall(rf"\${{{name}[^}}]*}}", FILE.read_text("utf-8"))

    assert uses
    assert all(use.startswith(f"${{{name}:?") for use in uses)


def test_mounted_files_exist_and_cannot_be_written() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists()
                assert rest.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_plugins_are_pinned_and_are_those_of_the_datasources() -> None:
    plugins = SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL"].split(",")
    file = generate.ROOT / "grafana/datasources/gatewayz.yml"
    types = {each["type"] for each in yaml.safe_load(file.read_text("utf-8"))["datasources"]}

    assert all(re.fullmatch(r"[a-z-]+@\d+\.\d+\.\d+", plugin) for plugin in plugins)
    assert {plugin.partition("@")[0] for plugin in plugins} == types - {"prometheus"}


def test_grafana_has_every_variable_that_its_files_use() -> None:
    text = (generate.ROOT / "grafana/datasources/gatewayz.yml").read_text("utf-8")
    used = set(re.findall(r"\$(\w+)", re.sub(r"#.*", "", text)))

    assert used <= SERVICES["grafana"]["environment"].keys()


def test_prometheus_keeps_what_the_error_budget_needs() -> None:
    (flag,) = [each for each in SERVICES["prometheus"]["command"] if "retention.time" in each]

    assert int(re.findall(r"(\d+)d", flag)[0]) > 30


def test_the_scrape_targets_are_services() -> None:
    config = yaml.safe_load((generate.ROOT / "prometheus/prometheus.yml").read_text("utf-8"))
    names = {target.partition(":")[0] for job in config["scrape_configs"] for target in _targets(job)}
    aliases = {a for s in SERVICES.values() for a in s.get("networks", {}).get("default", {}).get("aliases", [])}

    assert names <= SERVICES.keys() | aliases


def _targets(job: dict[str, Any]) -> list[str]:
    found = [target for config in job.get("static_configs", []) for target in config["targets"]]
    return found + [name for config in job.get("dns_sd_configs", []) for name in config["names"]]


def test_the_image_runs_the_service_as_nobody() -> None:
    assert DOCKERFILE.count("FROM python:3.") == 2
    assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)
    # IPv4 as well: some private networks have IPv6 alone.
    assert "HOST=:: " in DOCKERFILE
    # As a list: through a shell the signal to stop would not arrive.
    assert DOCKERFILE.rstrip().endswith('CMD ["gatewayz-metrics", "serve"]')


def _has_compose() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not _has_compose(), reason="needs docker compose")
@pytest.mark.parametrize("profile", [(), ("--profile", "scale")], ids=["default", "scale"])
def test_docker_compose_accepts_it(profile: tuple[str, ...]) -> None:
    env = os.environ | dict.fromkeys(SECRETS, "secret")
    command = ["docker", "compose", "-f", str(FILE), *profile, "config", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
