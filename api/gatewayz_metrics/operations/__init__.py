"""Health and the service's own metrics."""
