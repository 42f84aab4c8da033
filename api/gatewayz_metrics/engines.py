"""What Prometheus-compatible servers do differently: a row for each, and adding a server is adding a row."""

import re
from dataclasses import dataclass

from gatewayz_metrics.promql.lexer import LABEL_NAME

NamedValues = tuple[tuple[str, str], ...]

# ASCII alone: what lies beyond cannot be sent by the client.
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class HeaderIsolation:
    """Tenants whose name goes in a header: the server keeps the data of each apart."""

    header: str
    kind: str = "a name"
    example: str = "team-a"

    def check(self, tenant: str) -> None:
        """Raise ValueError with a clause, which does not quote it, unless the tenant can be named so."""
        if not HEADER_VALUE.fullmatch(tenant):
            raise ValueError("a tenant has a name that a header cannot carry; TENANTS holds such a one.")

    def headers(self, tenant: str) -> NamedValues:
        """What every request of the tenant carries."""
        return ((self.header, tenant),)

    def parameters(self, tenant: str) -> NamedValues:  # noqa: ARG002  # the other kind has some
        """Nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class LabelIsolation:
    """Tenants that are a label: a parameter narrows every question to the series that carry it."""

    parameter: str
    kind: str = "a label"
    example: str = "team=a"

    def check(self, tenant: str) -> None:
        """Raise ValueError with a clause, which does not quote it, unless the tenant is a label."""
        name, _, value = tenant.partition("=")
        if not LABEL_NAME.fullmatch(name) or not value:
            raise ValueError(f"a tenant is a label such as {self.example}; TENANTS names something else.")

    def headers(self, tenant: str) -> NamedValues:  # noqa: ARG002  # the other kind has some
        """Nothing."""
        return ()

    def parameters(self, tenant: str) -> NamedValues:
        """What every request of the tenant carries."""
        return ((self.parameter, tenant),)


@dataclass(frozen=True, slots=True)
class UpstreamEngine:
    """One kind of server, as PROMETHEUS_ENGINE names it."""

    name: str
    title: str
    # Sent with every range query.
    range_parameters: NamedValues = ()
    # How it is told whose data a request may read; None shows everything to everyone.
    isolation: HeaderIsolation | LabelIsolation | None = None
    # Parameters by which a caller narrows a question in the same way: a tenant's own is the only one.
    narrowing: tuple[str, ...] = ()
    # Parameters that show how the server works inside, which concerns no tenant.
    revealing: tuple[str, ...] = ()


_ROWS = (
    UpstreamEngine("prometheus", "Prometheus"),
    UpstreamEngine(
        "victoriametrics",
        "VictoriaMetrics",
        # It moves start and end for a cache of its own unless it is told not to,
        # https://docs.victoriametrics.com/#prometheus-querying-api-enhancements, which has the other parameters too.
        range_parameters=(("nocache", "1"),),
        isolation=LabelIsolation("extra_label"),
        narrowing=("extra_label", "extra_filters", "extra_filters[]"),
        # https://docs.victoriametrics.com/#query-tracing
        revealing=("trace",),
    ),
    # https://grafana.com/docs/mimir/latest/manage/secure/authentication-and-authorization/
    UpstreamEngine("mimir", "Mimir", isolation=HeaderIsolation("X-Scope-OrgID")),
    UpstreamEngine("thanos", "Thanos"),
)
ENGINES = {row.name: row for row in _ROWS}


def list_engines(*, with_tenants: bool = False, quote: str = "") -> str:
    """The names of all engines, or of those that keep tenants apart: `a, b or c`."""
    names = [f"{quote}{name}{quote}" for name, row in ENGINES.items() if row.isolation or not with_tenants]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def describe_tenants() -> str:
    """What TENANTS holds for each engine that keeps tenants apart."""
    rows = [(row.title, row.isolation) for row in ENGINES.values() if row.isolation]
    return ", ".join(f'`{{"token": "{means.example}"}}` ({means.kind}) for {title}' for title, means in rows)
