"""JSON parsed and quoted in the words of TensorFlow Serving, whose parser is RapidJSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from serving.server.errors import RequestError, invalid

_QUOTE_LIMIT = 1024
# What a number beyond the range of a double has: an exponent of three digits, or so many digits.
_PERHAPS_HUGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{309}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# What Python's parser says, and RapidJSON's words for it.
_REASONS = {
    "Expecting value": "Invalid value.",
    "Unexpected UTF-8 BOM": "Invalid value.",
    "Expecting property name": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid control character": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_KINDS = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def parse_object(text: bytes) -> dict[str, Any]:
    """Parses a JSON object; NaN, Infinity and -Infinity are numbers.

    Escapes may leave halves of surrogate pairs in its strings: see `encoded`.

    Raises:
      RequestError: INVALID_ARGUMENT; the message says where the JSON is broken, in bytes.
    """
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        may_be_huge = _PERHAPS_HUGE.search(text) is not None
        document = json.loads(text.decode(), parse_float=_finite if may_be_huge else None)
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    except json.JSONDecodeError as error:
        if not error.doc.strip():
            raise _parse_error("The document is empty.", len(text)) from error
        before = error.doc[: error.pos]
        raise _parse_error(_reason(error.msg, before), len(before.encode())) from error
    except RecursionError as error:
        raise invalid("JSON Parse error: lists or objects are nested too deeply.") from error
    except ValueError as error:  # a float beyond all doubles, or an integer of thousands of digits
        raise invalid("JSON Parse error: Number too big to be stored in double.") from error
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def encoded(text: str) -> bytes:
    """A JSON string in UTF-8.

    Raises:
      RequestError: INVALID_ARGUMENT; half of a surrogate pair stands alone in it.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error


def format_error(value: object, reason: str) -> RequestError:
    """The error for a JSON value that is not what it should be."""
    return invalid(f"JSON Value: {quoted(value)} {reason}")


def quoted(value: object) -> str:
    """A JSON value for a message, cut where it gets long."""
    text = ""
    for part in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        text += part[: _QUOTE_LIMIT + 1]
        if len(text) > _QUOTE_LIMIT:
            return f"{text[:_QUOTE_LIMIT]}..."
    return text


def kind_name(value: object) -> str:
    """What a JSON value is."""
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    return _KINDS[type(value)]


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("beyond the range of a double")
    return number


def _parse_error(reason: str, offset: int) -> RequestError:
    return invalid(f"JSON Parse error: {reason} at offset: {offset}")


def _reason(message: str, before: str) -> str:
    for start, reason in _REASONS.items():
        if message.startswith(start):
            return reason
    innermost = ""
    opened = []
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", before)):
        if bracket in "[{":
            opened.append(bracket)
        else:
            opened.pop()
        innermost = opened[-1] if opened else ""
    if innermost == "[":
        return "Missing a comma or ] after an array element."
    return "Missing a comma or } after an object member."
