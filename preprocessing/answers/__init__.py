"""LLM answers: one record, its formats and checks, and the commands that import it."""
