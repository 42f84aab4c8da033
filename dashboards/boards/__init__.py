"""One module per dashboard, each a table of contents; `generated` makes those that a catalogue asks for itself."""

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.boards import business, examples, http, models, overview, performance, providers, service
from dashboards.variables import BoardVariables

WRITTEN: dict[str, Callable[[BoardVariables], Dashboard]] = {
    "Overview": overview.build,
    "HTTP": http.build,
    "Providers": providers.build,
    "Models": models.build,
    "Business": business.build,
    "Performance": performance.build,
    "Service": service.build,
    "Build your own": examples.build,
}
