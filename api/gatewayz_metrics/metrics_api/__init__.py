"""The eight metrics routes: a JSON summary, text per category, documentation."""
