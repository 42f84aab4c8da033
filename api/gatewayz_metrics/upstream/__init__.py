"""The upstream: its client, circuit breaker, limits and response cache."""
