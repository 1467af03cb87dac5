"""Grouping of items and users for collective extraction."""
