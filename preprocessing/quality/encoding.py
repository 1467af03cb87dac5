"""Texts that were damaged on their way: wrong encoding, control characters."""

from __future__ import annotations

import re

from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds

_REPLACEMENT_OR_CONTROL = re.compile("[\ufffd\ufffe\uffff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _misread(byte: int) -> str:
    """The character that a byte becomes when read as Windows-1252."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def _class(first: int, last: int) -> str:
    return "[" + "".join(re.escape(_misread(byte)) for byte in range(first, last + 1)) + "]"


_CONTINUATION = _class(0x80, 0xBF)
_MISREAD_UTF8 = re.compile(
    f"{_class(0xC2, 0xDF)}{_CONTINUATION}"
    f"|{_class(0xE0, 0xEF)}{_CONTINUATION}{{2}}"
    f"|{_class(0xF0, 0xF4)}{_CONTINUATION}{{3}}"
)


def bad_encoding(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Damaged characters.

    UTF-8 read as Windows-1252 leaves pairs such as 'Ã©': the first character stands for a lead
    byte, the others for continuation bytes.
    """
    if answer.text.isascii() and answer.text.isprintable():
        return None
    found = _REPLACEMENT_OR_CONTROL.findall(answer.text) + _MISREAD_UTF8.findall(answer.text)
    if len(found) <= thresholds.maximum_bad_characters:
        return None
    shown = ", ".join(sorted({ascii(characters) for characters in found})[:3])
    return f"{len(found)} damaged characters: {shown}"
