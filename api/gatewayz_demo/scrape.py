"""How Prometheus scrapes the simulated gateway and the service: interval, pages, and the labels of their targets."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

# Seconds.
INTERVAL = 15
INSTANCE = "api.gatewayz.ai:443"


@dataclass(frozen=True)
class ScrapeTarget:
    """A metrics page, its job, and the labels it has besides those that every page has."""

    job: str
    path: str
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels that a scrape adds to every sample, `job` aside."""
        return {"instance": INSTANCE, "env": "production", **dict(self.extra)}


METRICS = ScrapeTarget("gatewayz_production", "/metrics")
DATA_METRICS = ScrapeTarget(
    "gatewayz_data_metrics_production", "/prometheus/data/metrics", (("source", "prometheus_data"),)
)


@dataclass(frozen=True)
class OwnPage:
    """The page on which the service tells of itself: its host and port, and a token where it asks for one."""

    address: str
    token: str = ""

    # As provisioning/prometheus/prometheus.yml names it.
    job: ClassVar[str] = "gatewayz-metrics"


def render_config(address: str, targets: Iterable[ScrapeTarget], own: OwnPage | None = None) -> str:
    """The configuration of a Prometheus that scrapes a gateway at this address, as JSON, which is valid YAML."""
    jobs: list[dict[str, object]] = [
        {
            "job_name": target.job,
            "metrics_path": target.path,
            # A fixed instance label: the port differs after every start, and the history has to continue.
            "static_configs": [{"targets": [address], "labels": target.labels}],
        }
        for target in targets
    ]
    if own is not None:
        authorization = {"authorization": {"credentials": own.token}} if own.token else {}
        jobs.append({"job_name": own.job, "static_configs": [{"targets": [own.address]}], **authorization})
    globals_ = {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "10s"}
    return json.dumps({"global": globals_, "scrape_configs": jobs}, indent=2) + "\n"
