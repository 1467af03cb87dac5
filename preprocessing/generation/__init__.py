"""Prompts to answers, through any LLM."""
