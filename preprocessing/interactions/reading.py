"""Interactions from CSV lines: parsed column by column, bad rows set aside with a reason."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.scenario import InteractionColumns
from preprocessing.csv_blocks import LINE, CsvBlock, parse_block
from preprocessing.dead_letters import DeadLetter, dead_letter

USER = "user"
ITEM = "item"
RATING = "rating"
TIMESTAMP = "timestamp"

INTERACTION_SCHEMA = pa.schema(
    {
        USER: pa.string(),
        ITEM: pa.string(),
        RATING: pa.float64(),
        TIMESTAMP: pa.int64(),
        LINE: pa.int64(),
    }
)
"""Columns of parsed interactions."""

_NUMBER = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"
_INTEGER = r"^-?[0-9]{1,18}$"


def parse_interactions(
    block: CsvBlock, header: list[str], columns: InteractionColumns
) -> tuple[pa.Table, list[DeadLetter], int]:
    """Parses a block of interactions.

    Args:
      block: lines of the interaction file.
      header: all column names of the file.
      columns: which column holds what.

    Returns:
      Table of `INTERACTION_SCHEMA`, dead letters, and the number of records read; rows of the table
      and dead letters add up to it.
    """
    parsed = parse_block(
        block, header, [columns.user, columns.item, columns.rating, columns.timestamp]
    )
    user, item, rating_text, time_text, lines = parsed.table.columns
    rating_text = pc.utf8_trim_whitespace(rating_text)
    time_text = pc.utf8_trim_whitespace(time_text)
    rating, timestamp = parse_numbers(rating_text), parse_integers(time_text)
    named_not_finite = pc.match_substring_regex(rating_text, _NOT_FINITE)
    infinite = pc.fill_null(pc.invert(pc.is_finite(rating)), False)
    checks = [
        ("missing_user_id", is_blank(user), columns.user, None),
        ("missing_item_id", is_blank(item), columns.item, None),
        ("non_finite_rating", pc.or_(named_not_finite, infinite), columns.rating, rating_text),
        ("unparsable_rating", pc.is_null(rating), columns.rating, rating_text),
        ("unparsable_timestamp", pc.is_null(timestamp), columns.timestamp, time_text),
    ]
    rejected = np.zeros(parsed.table.num_rows, dtype=bool)
    dead_letters = list(parsed.dead_letters)
    for reason, failed, column, values in checks:
        rows = np.flatnonzero(failed.to_numpy() & ~rejected)
        for row in rows:
            found = "empty" if values is None else repr(values[row].as_py())
            detail = f"column '{column}': {found}"
            dead_letters.append(dead_letter(block.path, lines[row].as_py(), reason, detail))
        rejected[rows] = True
    table = pa.table([user, item, rating, timestamp, lines], schema=INTERACTION_SCHEMA)
    return table.filter(pa.array(~rejected)), dead_letters, parsed.records


def parse_numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimal numbers as float64; null for anything else (a number too large becomes infinite)."""
    readable = pc.match_substring_regex(texts, _NUMBER)
    return pc.cast(pc.if_else(readable, texts, None), pa.float64())


def parse_integers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers of up to 18 digits as int64; null for anything else."""
    readable = pc.match_substring_regex(texts, _INTEGER)
    return pc.cast(pc.if_else(readable, texts, None), pa.int64())


def is_blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """True where a text is empty or only white space."""
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
