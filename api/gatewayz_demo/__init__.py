"""The demo: finds or fetches engine binaries, runs them, and simulates a gateway to scrape."""
