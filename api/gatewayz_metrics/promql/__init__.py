"""How a question is put: pure functions on PromQL text, no I/O."""
