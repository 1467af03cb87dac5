"""The proof that an export scores as its checkpoint does, on every way to load and ask it."""
