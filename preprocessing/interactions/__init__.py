"""Interactions and catalogue to CTR examples."""
