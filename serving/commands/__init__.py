"""The commands of `python -m serving`, one module each."""
