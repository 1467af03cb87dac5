"""The explorer: what knowledge does to rankings, as pages in a browser."""
