"""Values of records, short enough to be read."""

from __future__ import annotations

import numpy as np

from preprocessing.records.wire_reader import Values

_SHOWN_AT_ENDS = 3
_LONGEST_TEXT = 200


def shown_values(values: Values) -> object:
    """One value as it is, a short list as it is, a long list as its ends and its length."""
    if not is_long(values):
        plain = [plain_value(value) for value in values]
        return plain[0] if len(plain) == 1 else plain
    ends = (values[:_SHOWN_AT_ENDS], values[-_SHOWN_AT_ENDS:])
    first, last = ([plain_value(value) for value in end] for end in ends)
    return {"count": len(values), "first": first, "last": last}


def is_long(values: Values) -> bool:
    """True for lists of which only the ends are shown."""
    return len(values) > 2 * _SHOWN_AT_ENDS + 2


def plain_value(value: object) -> object:
    """A text, or a number without the digits that float32 does not have."""
    if isinstance(value, bytes):
        return cut(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, np.floating):
        return _float(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return value


def cut(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text of bounded length."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def _float(value: float) -> float | str:
    # JSON has no word for numbers that are not finite.
    return float(f"{value:.6g}") if np.isfinite(value) else str(value)
