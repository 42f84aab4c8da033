"""What Prometheus-compatible servers do differently: a row for each, and adding a server is adding a row."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from gatewayz_metrics.promql.clauses import NAME_LABEL
from gatewayz_metrics.promql.lexer import LABEL_NAME
from gatewayz_metrics.promql.matchers import escape_regex, quote

NamedValues = tuple[tuple[str, str], ...]

# ASCII alone: what lies beyond cannot be sent by the client.
HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


class TenantIsolation(ABC):
    """A way to keep tenants apart: what every request of a tenant carries, or what its queries are narrowed by."""

    kind: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def check(self, tenant: str) -> None:
        """Raise ValueError with a clause, which does not quote it, unless the tenant can be named so."""

    def headers(self, tenant: str) -> NamedValues:  # noqa: ARG002  # one kind has some
        """The headers of every request of the tenant."""
        return ()

    def parameters(self, tenant: str) -> NamedValues:  # noqa: ARG002  # one kind has some
        """The parameters of every request of the tenant."""
        return ()

    def matcher(self, tenant: str) -> str:  # noqa: ARG002  # one kind has one
        """The matcher that stands in every selector of the tenant; empty for none."""
        return ""


@dataclass(frozen=True, slots=True)
class HeaderIsolation(TenantIsolation):
    """Tenants whose name goes in a header: the server keeps the data of each apart."""

    header: str
    kind = "a name"
    example = "team-a"

    def check(self, tenant: str) -> None:
        """Raise ValueError unless a header can carry the name."""
        if not HEADER_VALUE.fullmatch(tenant):
            raise ValueError("a tenant has a name that a header cannot carry; TENANTS holds such a one.")

    def headers(self, tenant: str) -> NamedValues:
        """The header with the name."""
        return ((self.header, tenant),)


class _LabelledTenants(TenantIsolation):
    """Tenants that are a label on their series."""

    kind = "a label"
    example = "team=a"

    def check(self, tenant: str) -> None:
        """Raise ValueError unless the tenant is a label."""
        name, _, value = tenant.partition("=")
        # A metric's name cannot be given twice, so no matcher can join a selector that has one.
        if not LABEL_NAME.fullmatch(name) or name == NAME_LABEL or not value:
            raise ValueError(f"a tenant is a label such as {self.example}; TENANTS names something else.")


@dataclass(frozen=True, slots=True)
class LabelIsolation(_LabelledTenants):
    """Tenants that are a label: a parameter narrows every question to the series that carry it."""

    parameter: str

    def parameters(self, tenant: str) -> NamedValues:
        """The parameter with the label."""
        return ((self.parameter, tenant),)


@dataclass(frozen=True, slots=True)
class MatcherIsolation(_LabelledTenants):
    """Tenants that are a label, on a server without means of its own: this service narrows every selector."""

    def matcher(self, tenant: str) -> str:
        """The label as a matcher that `absent()` makes no label of.

        It makes labels of `=` alone. A tenant that asks `absent(up)` is told what its own server would say, `{}`, as
        VictoriaMetrics' extra_label does.
        """
        name, _, value = tenant.partition("=")
        return f"{name}=~{quote(escape_regex(value))}"


@dataclass(frozen=True, slots=True)
class UpstreamEngine:
    """One kind of server, as PROMETHEUS_ENGINE names it."""

    name: str
    title: str
    # Sent with every range query.
    range_parameters: NamedValues = ()
    # How tenants are kept apart.
    isolation: TenantIsolation = MatcherIsolation()
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


def list_engines(*, quote: str = "") -> str:
    """The names of all engines: `a, b or c`."""
    return _enumerate([f"{quote}{name}{quote}" for name in ENGINES])


def describe_tenants() -> str:
    """What TENANTS holds for each engine."""
    titles: dict[tuple[str, str], list[str]] = {}
    for row in ENGINES.values():
        titles.setdefault((row.isolation.example, row.isolation.kind), []).append(row.title)
    return ", ".join(
        f'`{{"token": "{example}"}}` ({kind}) for {_enumerate(found)}' for (example, kind), found in titles.items()
    )


def _enumerate(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
