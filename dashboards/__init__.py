"""The Grafana dashboards and alert rules, generated from a catalogue: `make dashboards` writes `provisioning/`."""
