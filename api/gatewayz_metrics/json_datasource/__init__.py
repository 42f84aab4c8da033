"""Grafana's JSON datasource, both generations of plugins."""
