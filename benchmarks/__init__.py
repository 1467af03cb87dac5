"""Benchmarks: each prints JSON lines; ratios within one run are what counts."""
