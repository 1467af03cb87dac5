"""Times as seconds since 1970, UTC."""

from __future__ import annotations

import datetime
import math

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from preprocessing.tables.numbers import parse_integers, parse_numbers
from preprocessing.tables.values import numbers_of, texts_of

UNITS_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
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
      unit: "seconds", "milliseconds", "microseconds" (since 1970) or "iso" (a time without a zone
        is UTC).
    """
    found = column.type
    if types.is_dictionary(found):
        column, found = pc.cast(column, found.value_type), found.value_type
    if types.is_timestamp(found):
        return _floored(pc.cast(column, pa.int64()), _ARROW_UNITS[found.unit])
    if types.is_date(found):
        days = pc.cast(pc.cast(pc.cast(column, pa.date32()), pa.int32()), pa.int64())
        return pc.multiply(days, _SECONDS_PER_DAY)
    if unit == "iso":
        return _of_iso_texts(pc.utf8_trim_whitespace(texts_of(column)))
    divisor = UNITS_PER_SECOND[unit]
    if types.is_floating(found) or types.is_uint64(found):
        return _of_floats(column, divisor)
    if types.is_integer(found):
        return _floored(pc.cast(column, pa.int64()), divisor)
    return _of_texts(pc.utf8_trim_whitespace(texts_of(column)), divisor)


def fractional_seconds_of(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """A column of times as float64 seconds, to tell times within one second apart.

    Args:
      column: as for `seconds_of`.
      unit: as for `seconds_of`.
    """
    found = column.type
    if types.is_timestamp(found):
        return pc.divide(numbers_of(column), float(_ARROW_UNITS[found.unit]))
    if types.is_date(found):
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


def _of_floats(numbers: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
    seconds = pc.divide(pc.cast(numbers, pa.float64(), safe=False), float(divisor))
    floored = pc.floor(seconds)
    in_range = pc.less(pc.abs(floored), 2.0**62)  # false for NaN and infinity too
    return pc.cast(pc.if_else(in_range, floored, None), pa.int64())


def _of_texts(texts: pa.ChunkedArray, divisor: int) -> pa.ChunkedArray:
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
    return pc.coalesce(exact, _of_floats(parse_numbers(texts), divisor))


def _of_iso_texts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    readable = pc.match_substring_regex(texts, _ISO)
    times = pc.replace_substring_regex(pc.if_else(readable, texts, None), _FRACTION, "")
    zoned = pc.match_substring_regex(times, _ZONE)
    try:
        with_zone = pc.cast(pc.if_else(zoned, times, None), pa.timestamp("s", "UTC"))
        without = pc.cast(pc.if_else(zoned, None, times), pa.timestamp("s"))
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array(map(_of_iso_text, times.to_pylist()), pa.int64())])
    return pc.coalesce(pc.cast(with_zone, pa.int64()), pc.cast(without, pa.int64()))


def _of_iso_text(text: str | None) -> int | None:
    """One time; None for a date that does not exist, such as 2023-02-30."""
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.UTC)
    return math.floor(time.timestamp())
