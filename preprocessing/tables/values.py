"""Columns of parsed tables as texts, numbers, times or lists, whatever type a file gave them."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

EXACT_INTEGERS = float(1 << 53)
"""Below this, float64 holds every whole number."""

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, in seconds since 1970."""

_LIST_GLUE = ", "


def is_readable(data_type: pa.DataType) -> bool:
    """True for types of values and of (nested) lists of values."""
    if types.is_dictionary(data_type) or _is_list(data_type):
        return is_readable(data_type.value_type)
    try:
        pc.cast(pa.array([], data_type), pa.string())
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

    True is 1 and false 0, as texts, too: a format may know of a value only how it is written. Of a
    floating column of the file, NaN stands for a missing number and becomes null.
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
    truths = pc.index_in(texts, value_set=pa.array(["false", "true"]))
    numbers = pc.coalesce(numbers, pc.cast(truths, pa.float64()))
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
    data_type = column.type
    return pc.cast(column, data_type.value_type) if types.is_dictionary(data_type) else column


def _is_list(data_type: pa.DataType) -> bool:
    return (
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
        or types.is_list_view(data_type)
        or types.is_large_list_view(data_type)
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


def _flat(data_type: pa.DataType) -> pa.DataType:
    return pa.list_(data_type.value_type.value_type)


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


UNITS_PER_SECOND = {
    "seconds": 1,
    "milliseconds": 1_000,
    "microseconds": 1_000_000,
    "nanoseconds": 1_000_000_000,
}
_ARROW_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_SECONDS_PER_DAY = 86_400
_DECIMAL = r"^(?P<whole>-?[0-9]{1,18})(?P<fraction>\.[0-9]*)?$"
_NONZERO_FRACTION = r"\.0*[1-9]"
_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
_ZONE = r":[0-9]{2}(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_FRACTION = r"[.,][0-9]+"
_FRACTION_DIGITS = r"[.,](?P<digits>[0-9]+)"


def seconds_of(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """A column of times as whole seconds, int64, parts of a second floored; null for no time.

    Args:
      column: numbers or texts as `unit` says, or times of a Parquet file, which know their unit.
      unit: "seconds", "milliseconds", "microseconds" or "nanoseconds" (since 1970), or "iso" (a
        time without a zone is UTC).
    """
    data_type = column.type
    if types.is_dictionary(data_type):
        column, data_type = pc.cast(column, data_type.value_type), data_type.value_type
    if types.is_timestamp(data_type):
        return _floored(pc.cast(column, pa.int64()), _ARROW_UNITS[data_type.unit])
    if types.is_date(data_type):
        days = pc.cast(pc.cast(pc.cast(column, pa.date32()), pa.int32()), pa.int64())
        return pc.multiply(days, _SECONDS_PER_DAY)
    if unit == "iso":
        return _from_iso_texts(pc.utf8_trim_whitespace(texts_of(column)))
    divisor = UNITS_PER_SECOND[unit]
    if types.is_floating(data_type) or types.is_uint64(data_type):
        return _from_floats(column, divisor)
    if types.is_integer(data_type):
        return _floored(pc.cast(column, pa.int64()), divisor)
    return _from_texts(pc.utf8_trim_whitespace(texts_of(column)), divisor)


def fractional_seconds_of(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """A column of times as float64 seconds, to tell times within one second apart.

    Args:
      column: as for `seconds_of`.
      unit: as for `seconds_of`.
    """
    data_type = column.type
    if types.is_timestamp(data_type):
        return pc.divide(numbers_of(column), float(_ARROW_UNITS[data_type.unit]))
    if types.is_date(data_type):
        return pc.cast(seconds_of(column, unit), pa.float64())
    if unit == "iso":
        matched = pc.extract_regex(texts_of(column), _FRACTION_DIGITS)
        digits = pc.replace_substring_regex(pc.struct_field(matched, "digits"), "^", "0.")
        fraction = pc.fill_null(pc.cast(digits, pa.float64()), 0.0)
        return pc.add(pc.cast(seconds_of(column, unit), pa.float64()), fraction)
    return pc.divide(numbers_of(column), float(UNITS_PER_SECOND[unit]))


def _floored(whole: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    if divisor == 1:
        return whole
    # Arrow divides towards zero: 1 is taken away from negative numbers with a remainder.
    quotient = pc.divide(whole, divisor)
    below = pc.less(whole, pc.multiply(quotient, divisor))
    return pc.subtract(quotient, pc.cast(below, pa.int64()))


def _from_floats(numbers: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    seconds = pc.divide(pc.cast(numbers, pa.float64(), safe=False), float(divisor))
    floored = pc.floor(seconds)
    in_range = pc.less(pc.abs(floored), 2.0**62)  # false for NaN and infinity too
    return pc.cast(pc.if_else(in_range, floored, None), pa.int64())


def _from_texts(texts: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    integers = parse_integers(texts)
    if not integers.null_count:
        return _floored(integers, divisor)
    readable = pc.match_substring_regex(texts, _DECIMAL)
    decimals = pc.if_else(readable, texts, None)
    whole = pc.cast(pc.replace_substring_regex(decimals, r"\..*$", ""), pa.int64())
    below = pc.and_(
        pc.starts_with(decimals, "-"), pc.match_substring_regex(decimals, _NONZERO_FRACTION)
    )
    exact = _floored(pc.subtract(whole, pc.cast(below, pa.int64())), divisor)
    # Numbers such as 1.5e9 or .5 are rare; float64 is good enough for them.
    return pc.coalesce(exact, _from_floats(parse_numbers(texts), divisor))


def _from_iso_texts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    readable = pc.match_substring_regex(texts, _ISO)
    times = pc.replace_substring_regex(pc.if_else(readable, texts, None), _FRACTION, "")
    zoned = pc.match_substring_regex(times, _ZONE)
    try:
        with_zone = pc.cast(pc.if_else(zoned, times, None), pa.timestamp("s", "UTC"))
        without = pc.cast(pc.if_else(zoned, None, times), pa.timestamp("s"))
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array(map(_from_iso_text, times.to_pylist()), pa.int64())])
    return pc.coalesce(pc.cast(with_zone, pa.int64()), pc.cast(without, pa.int64()))


def _from_iso_text(text: str | None) -> int | None:
    """One time; None for a date that does not exist, such as 2023-02-30."""
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return math.floor(time.timestamp())
