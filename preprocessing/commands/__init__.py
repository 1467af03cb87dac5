"""The commands of `python -m preprocessing`, one file each."""
