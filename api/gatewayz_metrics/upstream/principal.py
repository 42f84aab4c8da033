"""Who a question is asked for: the unit among which the places at the upstream are shared.

The route's guard sets it. It is a context variable, so tasks that are started for a request inherit it; a call that
several requests share belongs to the first of them.
"""

from contextvars import ContextVar
from typing import NamedTuple


class Principal(NamedTuple):
    """A caller. Neither part is a secret.

    `group` is the token, tenant or address that a caller cannot choose, `member` what it says about itself
    (`X-Grafana-User`): saying something else every time gains no more than the group's share.
    """

    group: str
    member: str = ""


# Our own questions, such as those of probes.
SERVICE = Principal("service")

_current: ContextVar[Principal] = ContextVar("gatewayz_metrics_principal", default=SERVICE)


def current_principal() -> Principal:
    """The principal of the running request; the service itself outside of requests."""
    return _current.get()


def set_principal(principal: Principal) -> None:
    """Note whom the running request is for."""
    _current.set(principal)
