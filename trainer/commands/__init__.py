"""Commands of `python -m trainer`, one file each."""
