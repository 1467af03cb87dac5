"""Complete examples on bundled data."""
