"""LLM answers to knowledge vectors."""
