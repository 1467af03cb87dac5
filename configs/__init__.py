"""Scenario files and the typed configuration that every program reads them with."""
