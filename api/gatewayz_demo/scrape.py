"""How Prometheus looks at the simulated gateway: two pages, and the labels a scrape adds."""

import json
from dataclasses import dataclass

INTERVAL = 15
INSTANCE = "api.gatewayz.ai:443"


@dataclass(frozen=True)
class ScrapeTarget:
    """A page and the labels its samples get."""

    job: str
    path: str
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """What is added to the labels of every sample, except the job."""
        return {"instance": INSTANCE, "env": "production", **dict(self.extra)}


METRICS = ScrapeTarget("gatewayz_production", "/metrics")
DATA_METRICS = ScrapeTarget(
    "gatewayz_data_metrics_production", "/prometheus/data/metrics", (("source", "prometheus_data"),)
)


def prometheus_config(address: str) -> str:
    """The configuration of a Prometheus that scrapes a gateway at this address (JSON, hence YAML)."""
    jobs = [
        {
            "job_name": target.job,
            "metrics_path": target.path,
            # A constant instance: the port is another one after every start.
            "static_configs": [{"targets": [address], "labels": target.labels}],
        }
        for target in (METRICS, DATA_METRICS)
    ]
    globals_ = {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "10s"}
    return json.dumps({"global": globals_, "scrape_configs": jobs}, indent=2) + "\n"
