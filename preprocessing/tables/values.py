"""Columns of parsed tables, whatever type a file gave them, as texts, numbers or lists of texts.

Ids and categories are texts: the integer 123 is "123", the float 5.0 is "5", as pandas makes of
whole numbers in a column with gaps; bytes that are no text are escaped, so that different ones stay
different. What is missing is the empty text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from preprocessing.tables.numbers import names_no_finite_number, parse_numbers

EXACT_INTEGERS = float(1 << 53)
"""Below this, float64 holds every whole number."""

_LIST_GLUE = ", "


def is_readable(found: pa.DataType) -> bool:
    """True for types of values and of (nested) lists of values."""
    if types.is_dictionary(found) or _is_list(found):
        return is_readable(found.value_type)
    try:
        pc.cast(pa.array([], found), pa.string())
    except pa.ArrowException:
        return False
    return True


def texts_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings without nulls; a list becomes one text with commas."""
    column = _plain(column)
    if _is_list(column.type):
        joined = pc.binary_join(lists_of(column, None), _LIST_GLUE)
        return pc.fill_null(joined, "")
    return pc.fill_null(_strings(column), "")


def lists_of(column: pa.ChunkedArray, separator: str | None) -> pa.ChunkedArray:
    """A column as lists of strings: trimmed, none of them empty, each value once, no nulls.

    Args:
      column: texts or lists; other values are lists of one.
      separator: splits a text into several values; None takes it as one.
    """
    column = _plain(column)
    if not _is_list(column.type):
        texts = texts_of(column)
        column = pc.split_pattern(texts, separator) if separator else _lists_of_one(texts)
    while _is_list(column.type.value_type):
        column = pa.chunked_array([_flatter(chunk) for chunk in column.chunks], _flat(column.type))
    chunks = [_distinct_values(chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.list_(pa.string()))


def numbers_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as float64: null where there is no number, NaN or infinite where one is not finite.

    Of a floating column of the file, NaN stands for a missing number and becomes null.
    """
    column = _plain(column)
    if types.is_floating(column.type):
        numbers = pc.cast(column, pa.float64())
        return pc.if_else(pc.is_nan(numbers), None, numbers)
    if types.is_integer(column.type) or types.is_decimal(column.type):
        return pc.cast(column, pa.float64(), safe=False)
    if types.is_boolean(column.type):
        return pc.cast(pc.cast(column, pa.int8()), pa.float64())
    if types.is_temporal(column.type):
        return _counted(column)
    texts = pc.utf8_trim_whitespace(texts_of(column))
    numbers = parse_numbers(texts)
    if not numbers.null_count:
        return numbers
    return pc.if_else(names_no_finite_number(texts), float("nan"), numbers)


def is_blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """True where a text is empty or only white space."""
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)


def number_text(number: float) -> str:
    """A number as `texts_of` writes it."""
    if number.is_integer() and abs(number) < EXACT_INTEGERS:
        return str(int(number))
    if 1e-3 < abs(number) < 1e9:
        return repr(number)
    # Only these differ: Arrow writes exponents where Python does not, and in another way.
    return str(texts_of(pa.chunked_array([pa.array([number], pa.float64())]))[0].as_py())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    found = column.type
    return pc.cast(column, found.value_type) if types.is_dictionary(found) else column


def _is_list(found: pa.DataType) -> bool:
    return (
        types.is_list(found)
        or types.is_large_list(found)
        or types.is_fixed_size_list(found)
        or types.is_list_view(found)
        or types.is_large_list_view(found)
    )


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if types.is_floating(column.type):
        numbers = pc.cast(column, pa.float64())
        whole = pc.and_(
            pc.equal(numbers, pc.trunc(numbers)), pc.less(pc.abs(numbers), EXACT_INTEGERS)
        )
        as_integers = pc.cast(pc.if_else(whole, numbers, None), pa.int64())
        texts = pc.coalesce(pc.cast(as_integers, pa.string()), pc.cast(column, pa.string()))
        return pc.if_else(pc.is_nan(numbers), "", texts)
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid:
        texts = [
            None if value is None else value.decode(errors="backslashreplace")
            for value in column.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())])


def _counted(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as the number of their own units."""
    whole = pc.cast(column, pa.int32() if column.type.bit_width == 32 else pa.int64())
    return pc.cast(whole, pa.float64(), safe=False)


def _lists_of_one(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    chunks = [
        pa.ListArray.from_arrays(np.arange(len(chunk) + 1, dtype=np.int32), chunk)
        for chunk in texts.chunks
    ]
    return pa.chunked_array(chunks, pa.list_(pa.string()))


def _flat(found: pa.DataType) -> pa.DataType:
    return pa.list_(found.value_type.value_type)


def _flatter(lists: pa.Array) -> pa.Array:
    """Lists of lists as lists: the outer brackets stay."""
    inner = lists.flatten()
    rows = _rows_of_values(lists)[_rows_of_values(inner)]
    return lists_from_rows(rows, inner.flatten(), len(lists))


def _distinct_values(lists: pa.Array) -> pa.Array:
    values = texts_of(pa.chunked_array([lists.flatten()]))
    values = pc.utf8_trim_whitespace(values).combine_chunks()
    encoded = values.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    rows = _rows_of_values(lists)
    used = np.flatnonzero(pc.not_equal(values, "").to_numpy(zero_copy_only=False))
    key = rows[used] * max(len(encoded.dictionary), 1) + codes[used]
    _, first = np.unique(key, return_index=True)
    kept = used[np.sort(first)]
    return lists_from_rows(rows[kept], values.take(pa.array(kept)), len(lists))


def _rows_of_values(lists: pa.Array) -> np.ndarray:
    """[values] row of each value of `lists.flatten()`."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists), dtype=np.int64), lengths)


def lists_from_rows(rows: np.ndarray, values: pa.Array, count: int) -> pa.Array:
    """[count] lists, from values and the row of each, ascending."""
    offsets = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
