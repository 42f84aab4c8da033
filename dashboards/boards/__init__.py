"""One module per dashboard, each a table of contents."""

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.boards import business, http, models, overview, performance, providers, service

ALL: tuple[Callable[[], Dashboard], ...] = (
    overview.build,
    http.build,
    providers.build,
    models.build,
    business.build,
    performance.build,
    service.build,
)
