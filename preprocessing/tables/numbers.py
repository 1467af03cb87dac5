"""Numbers written as text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"
_INTEGER = r"^-?[0-9]{1,18}$"


def parse_numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimal numbers as float64; null for anything else (a number too large becomes infinite)."""
    readable = pc.match_substring_regex(texts, _NUMBER)
    return pc.cast(pc.if_else(readable, texts, None), pa.float64())


def parse_integers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers of up to 18 digits as int64; null for anything else."""
    readable = pc.match_substring_regex(texts, _INTEGER)
    return pc.cast(pc.if_else(readable, texts, None), pa.int64())


def names_no_finite_number(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """True for texts such as "nan" and "-inf"."""
    return pc.match_substring_regex(texts, _NOT_FINITE)
