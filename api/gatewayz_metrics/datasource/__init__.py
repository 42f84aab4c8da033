"""What a Grafana panel asks for, in the catalogue's words: targets, time, variables, annotations, options."""
