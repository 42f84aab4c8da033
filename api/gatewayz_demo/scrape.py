"""How Prometheus scrapes the simulated gateway: interval, the two pages, and the labels of their targets."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

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


def render_config(address: str, targets: Iterable[ScrapeTarget]) -> str:
    """The configuration of a Prometheus that scrapes a gateway at this address, as JSON, which is valid YAML."""
    jobs = [
        {
            "job_name": target.job,
            "metrics_path": target.path,
            # A fixed instance label: the port differs after every start, and the history has to continue.
            "static_configs": [{"targets": [address], "labels": target.labels}],
        }
        for target in targets
    ]
    globals_ = {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "10s"}
    return json.dumps({"global": globals_, "scrape_configs": jobs}, indent=2) + "\n"
