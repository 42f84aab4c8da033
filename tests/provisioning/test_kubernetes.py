"""The manifests: they fit one another, the service's routes and settings, and the container's rights."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from fastapi.testclient import TestClient
from gatewayz_metrics.settings import Settings

from tests.support.client import serving

FOLDER = Path(__file__).parents[2] / "provisioning/kubernetes"
OBJECTS: dict[str, dict[str, Any]] = {
    document["kind"]: document
    for file in sorted(FOLDER.glob("*.yml"))
    for document in yaml.safe_load_all(file.read_text("utf-8"))
}
DEPLOYMENT = OBJECTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = DEPLOYMENT["template"]["metadata"]["labels"]
VERSIONS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
}


def test_every_kind_is_there_in_its_present_version() -> None:
    assert {kind: document["apiVersion"] for kind, document in OBJECTS.items()} == VERSIONS


# A custom resource, whose schema comes with its operator.
OF_KUBERNETES = [kind for kind in VERSIONS if kind != "ServiceMonitor"]


@pytest.mark.parametrize("kind", OF_KUBERNETES)
def test_kubernetes_takes_it(kind: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], "1.33", strict=True)


@pytest.mark.parametrize("kind", OF_KUBERNETES)
def test_it_would_not_take_a_misspelt_key(kind: str) -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(OBJECTS[kind] | {"sepc": {}}, "1.33", strict=True)


def test_all_mean_the_same_pods() -> None:
    assert DEPLOYMENT["selector"]["matchLabels"] == LABELS
    assert OBJECTS["Service"]["spec"]["selector"] == LABELS
    assert OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == LABELS
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABELS
    assert OBJECTS["ServiceMonitor"]["spec"]["selector"]["matchLabels"] == OBJECTS["Service"]["metadata"]["labels"]


def test_all_mean_the_same_port() -> None:
    (port,) = CONTAINER["ports"]
    (service,) = OBJECTS["Service"]["spec"]["ports"]
    (monitored,) = OBJECTS["ServiceMonitor"]["spec"]["endpoints"]

    assert port["containerPort"] == service["port"] == Settings.model_fields["port"].default
    assert service["targetPort"] == port["name"]
    assert monitored["port"] == service["name"]
    assert OBJECTS["NetworkPolicy"]["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": service["port"]}]


def test_a_pod_can_be_disrupted() -> None:
    assert OBJECTS["PodDisruptionBudget"]["spec"]["minAvailable"] < DEPLOYMENT["replicas"]


def test_the_container_has_no_more_rights_than_it_needs() -> None:
    dockerfile = (FOLDER.parents[1] / "Dockerfile").read_text("utf-8")

    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}" in dockerfile
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert CONTAINER["resources"]["limits"]["memory"]


def test_the_settings_exist_and_the_token_is_a_secret() -> None:
    given = {entry["name"]: entry for entry in CONTAINER["env"]}

    assert {name.lower() for name in given} <= set(Settings.model_fields)
    assert "value" not in given["API_TOKENS"]
    secret = given["API_TOKENS"]["valueFrom"]["secretKeyRef"]
    assert OBJECTS["ServiceMonitor"]["spec"]["endpoints"][0]["authorization"]["credentials"] == secret


def test_the_grace_period_is_longer_than_the_shutdown() -> None:
    assert POD["terminationGracePeriodSeconds"] > Settings.model_fields["shutdown_timeout"].default


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_a_probe_needs_no_token_and_no_upstream(probe: str) -> None:
    client: TestClient
    with serving(api_tokens=("secret",)) as client:
        assert client.get(CONTAINER[probe]["httpGet"]["path"]).status_code == 200
