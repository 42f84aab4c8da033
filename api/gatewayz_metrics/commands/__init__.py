"""Commands of `gatewayz-metrics` besides those that serve: files, the catalogue, a first look at the upstream."""
