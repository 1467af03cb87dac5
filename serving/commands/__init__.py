"""The commands of `python -m serving`: options, help, and what each calls."""
