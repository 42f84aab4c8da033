"""Answers for the metrics of the GatewayZ AI gateway."""

from importlib.metadata import version

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.integration import setup_prometheus_routes
from gatewayz_metrics.main import create_app
from gatewayz_metrics.settings import Settings

__all__ = ["ConfigurationError", "Settings", "__version__", "create_app", "setup_prometheus_routes"]

__version__ = version("gatewayz-metrics")
