"""Text encoders: one file each, found by name in `preprocessing.encoders.registry`."""
