"""One module per surface, thin: find, ask, shape."""
