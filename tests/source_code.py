"""The repository's own source, read by tests."""

from __future__ import annotations

import ast
import gc


def syntax_tree(source: str) -> ast.Module:
    """Parses Python.

    A collection in the middle may run code of other threads that parses too, which Python 3.11
    answers with SystemError: a syntax tree is made by one thread at a time.
    """
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()
