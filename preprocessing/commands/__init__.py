"""The commands of `python -m preprocessing`: options, help, and what each calls."""
