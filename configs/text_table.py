"""Tables for a terminal, whose columns stay aligned whatever script their texts are in."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterator, Sequence

_GAP = "  "
_TWO_PLACES = ("W", "F")
_NO_PLACE = ("Mn", "Me", "Cf")


def aligned(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Container[int] = ()
) -> Iterator[str]:
    """The lines of a table.

    Args:
      header: names of the columns.
      rows: texts, one per column.
      numbers: the columns that are aligned to the right.
    """
    lines = [[_printable(text) for text in line] for line in (header, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for index, (text, width) in enumerate(zip(line, widths, strict=True)):
            space = " " * (width - display_width(text))
            cells.append(space + text if index in numbers else text + space)
        yield _GAP.join(cells).rstrip()


def display_width(text: str) -> int:
    """Places that a text takes in a terminal: two for East Asian wide characters, none for marks.

    Unicode Standard Annex 11, https://www.unicode.org/reports/tr11/.
    """
    return sum(
        0
        if unicodedata.category(character) in _NO_PLACE
        else 2
        if unicodedata.east_asian_width(character) in _TWO_PLACES
        else 1
        for character in text
    )


def _printable(text: str) -> str:
    """Replaces characters that would move the cursor: titles come from data."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) == "Cc" else character
        for character in text
    )
