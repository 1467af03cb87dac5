"""The study behind the numbers: `python -m examples.evidence`."""
