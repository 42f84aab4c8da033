"""Answers for the metrics of the GatewayZ AI gateway.

What the package offers is imported when it is first asked for. Until then nothing of FastAPI is loaded, which takes
most of the command's start, and `__main__` can hear Ctrl-C during that.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewayz_metrics.errors import ConfigurationError
    from gatewayz_metrics.integration import setup_prometheus_routes
    from gatewayz_metrics.main import create_app
    from gatewayz_metrics.settings import Settings

    __version__: str

__all__ = ["ConfigurationError", "Settings", "__version__", "create_app", "setup_prometheus_routes"]

_PLACES = {
    "ConfigurationError": "errors",
    "Settings": "settings",
    "create_app": "main",
    "setup_prometheus_routes": "integration",
}


def __getattr__(name: str) -> object:
    """What is asked for the first time; later it is found without this."""
    if name == "__version__":
        found: object = version("gatewayz-metrics")
    elif name in _PLACES:
        found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
