"""Limits of the service as a whole, divided among workers."""

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.server.shares import DIVIDED, divide


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_shares_are_the_limit_together(workers: int) -> None:
    whole = Settings(workers=workers)
    shares = divide(whole)

    assert len(shares) == workers
    for name in DIVIDED:
        parts = [getattr(share, name) for share in shares]
        assert sum(parts) == getattr(whole, name)
        assert max(parts) - min(parts) <= 1


def test_all_else_is_the_same() -> None:
    whole = Settings(workers=2)
    for share in divide(whole):
        assert share.model_dump(exclude=set(DIVIDED)) == whole.model_dump(exclude=set(DIVIDED))


def test_no_limit_stays_none() -> None:
    assert [share.max_requests_per_address for share in divide(Settings(workers=2, max_requests_per_address=0))] == [
        0
    ] * 2


@pytest.mark.parametrize(
    ("name", "whole", "least"),
    [
        ("prometheus_connections", 1, "1"),
        ("max_memory_bytes", 2**20, "1,048,576"),
        ("max_requests_per_address", 1, "1"),
    ],
)
def test_what_cannot_be_shared_is_a_sentence(name: str, whole: int, least: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        divide(Settings(workers=2, **{name: whole}))  # type: ignore[arg-type]  # numbers only

    assert str(refused.value) == (
        f"{name.upper()} is {whole:,}, which 2 WORKERS cannot share: each needs {least} at least; "
        "raise the limit or lower WORKERS."
    )
