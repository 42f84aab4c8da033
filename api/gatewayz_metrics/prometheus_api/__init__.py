"""The Prometheus HTTP API, read-only."""
