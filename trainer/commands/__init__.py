"""The commands of `python -m trainer`: options, help, and what each calls."""
