"""Factorization prompting: prompts about factors of items, users and groups, and their cost."""
