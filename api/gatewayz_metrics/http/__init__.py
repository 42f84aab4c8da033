"""What all surfaces share over HTTP: errors in a surface's words, refusals, compression, CORS."""
