"""Whose data a question may read, in the upstream's own means of isolation."""

from dataclasses import dataclass

from gatewayz_metrics.settings import Settings


@dataclass(frozen=True, slots=True)
class Tenant:
    """Headers and parameters that every upstream request of a tenant carries."""

    headers: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def is_label_restricted(self) -> bool:
        """Whether only parameters restrict it, which answers without series do not heed."""
        return bool(self.parameters)


NOBODY = Tenant()


def tenants(settings: Settings) -> dict[str, Tenant]:
    """The tenants by the token that their callers show."""
    named = {token: tenant.get_secret_value() for token, tenant in settings.tenants.items()}
    if settings.prometheus_engine == "victoriametrics":
        return {token: Tenant(parameters=(("extra_label", label),)) for token, label in named.items()}
    return {token: Tenant(headers=(("X-Scope-OrgID", name),)) for token, name in named.items()}
