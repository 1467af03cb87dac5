"""How the lines of a CSV file are written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from configs.loading import ConfigurationError
from configs.raw_data import Table
from preprocessing.tables.files import separator_of

_STAND_INS = [bytes([code]) for code in (*range(0x1F, 0x0D, -1), *range(0x08, 0x00, -1))]
"""Control characters that no table has much use for."""

_LONGEST_FIELD = 1 << 30
"""More than a block of lines holds, which is what bounds a field."""


@dataclass(frozen=True)
class Dialect:
    """How fields stand in a line.

    Attributes:
      separator: between fields, one or several characters.
      quoting: fields may stand in double quotes.
      encoding: of the file, for messages.
    """

    separator: str
    quoting: bool
    encoding: str

    @classmethod
    def of_file(cls, table: Table, path: str) -> Dialect:
        """The dialect of one file of a table."""
        return cls(separator_of(table, path), table.quoting, table.encoding)

    def require_usable(self, key: str) -> None:
        """Checks the separator.

        Raises:
          ConfigurationError: it is empty or holds a line break or a quotation mark.
        """
        forbidden = '\r\n"' if self.quoting else "\r\n"
        if not self.separator or any(character in self.separator for character in forbidden):
            raise ConfigurationError(
                f"{key}: the separator {self.separator!r} must be one or several characters, "
                "none of them a line break or a quotation mark"
            )

    def split(self, line: str) -> list[str]:
        """Fields of one line.

        Raises:
          csv.Error: quotes are malformed.
        """
        separator = self.separator
        if not self.quoting:
            return line.split(separator)
        if len(separator) == 1:
            return next(quoted_fields([line], separator), [])
        replacement = stand_in(line.encode()).decode()
        replaced = line.replace(separator, replacement)
        fields = next(quoted_fields([replaced], replacement), [])
        return [field.replace(replacement, separator) for field in fields]

    def is_blank(self, line: bytes) -> bool:
        """True for a line of nothing but spaces and tabs that are no separators."""
        return not line.strip(self.blanks)

    @property
    def blanks(self) -> bytes:
        """Spaces and tabs, unless they belong to the separator."""
        return "".join(blank for blank in " \t" if blank not in self.separator).encode()


def quoted_fields(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Yields the fields of each record; one with a quote left open takes in the next line.

    Args:
      lines: without their ends.
      separator: one character.

    Raises:
      csv.Error: quotes are malformed.
    """
    # Python's own limit of 131,072 characters is less than some reviews and descriptions have.
    csv.field_size_limit(_LONGEST_FIELD)
    return csv.reader(lines, delimiter=separator, strict=True)


def stand_in(data: bytes) -> bytes:
    """A control character that can stand in for a separator: one that is not in the data.

    Where all of them are, the first one; lines that hold it cannot be read.
    """
    return next((byte for byte in _STAND_INS if byte not in data), _STAND_INS[0])
