"""The Grafana dashboards and alert rules, generated from the catalogue: `make dashboards` writes `provisioning/`."""
