"""Reads TFRecords, trains ranking models, evaluates them and reports. Door: `python -m trainer`."""
