"""Answers for the metrics of the GatewayZ AI gateway."""

from gatewayz_metrics.integration import setup_prometheus_routes
from gatewayz_metrics.main import create_app
from gatewayz_metrics.settings import Settings

__all__ = ["Settings", "create_app", "setup_prometheus_routes"]
