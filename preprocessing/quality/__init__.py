"""Checks of what an LLM wrote: each names one way in which a text is of no use as knowledge."""
