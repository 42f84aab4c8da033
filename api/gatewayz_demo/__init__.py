"""The demonstration: engine binaries, their processes, and a simulated gateway to watch."""
