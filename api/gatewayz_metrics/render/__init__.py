"""How an answer is written: pure functions from readings to bytes."""
