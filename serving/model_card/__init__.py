"""The model card of an export: what it is, what it was made from, and how well it ranks."""
