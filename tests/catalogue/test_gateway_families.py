"""What the monitoring stack asks of the gateway beyond the specification: each family in the catalogue, as it is."""

import csv
from pathlib import Path

import pytest
from gatewayz_metrics.catalogue import Family, load
from gatewayz_metrics.catalogue.functions import functions_of

CATALOGUE = load()
RECORDED = Path(__file__).parents[1] / "gatewayz_demo" / "backend_families.csv"
# Name, unit, and the category whose page has it.
FAMILIES = (
    ("time_to_first_chunk_seconds", "seconds", "streaming"),
    ("backend_ttfb_seconds", "seconds", "streaming"),
    ("streaming_duration_seconds", "seconds", "streaming"),
    ("gatewayz_api_cost_usd_total", "USD", "cost"),
    ("gatewayz_api_cost_per_request_usd", "USD", "cost"),
    ("gatewayz_daily_cost_estimate_usd", "USD", "cost"),
    ("circuit_breaker_current_state", "breakers", "reliability"),
    ("circuit_breaker_state_transitions_total", "changes", "reliability"),
    ("circuit_breaker_rejected_requests_total", "calls", "reliability"),
    ("velocity_mode_active", "switches", "reliability"),
    ("velocity_mode_activations_total", "activations", "reliability"),
    ("velocity_mode_duration_seconds", "seconds", "reliability"),
    ("concurrency_active_requests", "requests", "reliability"),
    ("concurrency_queued_requests", "requests", "reliability"),
    ("concurrency_rejected_total", "requests", "reliability"),
    ("catalog_cache_hits_total", "hits", "cache"),
    ("catalog_cache_misses_total", "misses", "cache"),
    ("catalog_cache_size_bytes", "bytes", "cache"),
    ("redis_up", "servers", "cache"),
    ("redis_connected_clients", "clients", "cache"),
    ("redis_memory_used_bytes", "bytes", "cache"),
    ("redis_keyspace_hit_ratio", "ratio", "cache"),
    ("redis_memory_max_bytes", "bytes", "cache"),
    ("redis_db_keys", "keys", "cache"),
    ("redis_uptime_in_seconds", "seconds", "cache"),
    ("redis_commands_per_second", "commands/s", "cache"),
    ("redis_connections_per_second", "connections/s", "cache"),
    ("redis_evicted_keys_per_second", "keys/s", "cache"),
    ("redis_expired_keys_per_second", "keys/s", "cache"),
    ("gatewayz_cache_cost_savings_usd_total", "USD", "cost"),
    ("fastapi_request_size_bytes", "bytes", "system"),
    ("fastapi_response_size_bytes", "bytes", "system"),
)


def recorded() -> dict[str, dict[str, str]]:
    """The families of the real gateway's page."""
    with RECORDED.open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(("name", "unit", "category"), FAMILIES, ids=[name for name, _, _ in FAMILIES])
def test_a_family_of_the_stack_is_in_the_catalogue(name: str, unit: str, category: str) -> None:
    family = CATALOGUE.by_name[name]

    assert isinstance(family, Family)
    assert (family.unit, category in family.categories) == (unit, True)
    assert functions_of(family)


@pytest.mark.parametrize("family", [f for f in CATALOGUE.families if f.name in recorded()], ids=lambda f: f.name)
def test_a_family_has_the_type_that_the_gateway_gives_it(family: Family) -> None:
    real = recorded()[family.name]

    assert family.type == real["type"]
    assert set(family.by) <= set(real["labels"].split())
