"""The columns of a table that the configuration maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from configs.loading import ConfigurationError


@dataclass(frozen=True)
class WantedColumns:
    """Which columns are wanted, and by which keys.

    Attributes:
      by_key: configuration key -> column.
      optional: those keys that may be null.
    """

    by_key: Mapping[str, str]
    optional: frozenset[str] = field(default_factory=frozenset)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, each once."""
        return tuple(dict.fromkeys(self.by_key.values()))

    def require_in(self, columns: Sequence[str], file: str) -> None:
        """Checks that a file has the columns, once each.

        Args:
          columns: column names of the file.
          file: its name, for the error message.

        Raises:
          ConfigurationError: a column does not exist or exists twice.
        """
        for key, column in self.by_key.items():
            if column not in columns:
                raise ConfigurationError(
                    f"{key}: {file} has no column '{column}'. Its columns: {', '.join(columns)}"
                    f"{self.way_out(key)}"
                )
            if columns.count(column) > 1:
                raise ConfigurationError(f"{key}: {file} has more than one column '{column}'")

    def way_out(self, key: str) -> str:
        """How to say that there is no such column, for the end of an error message."""
        return f". Write '{key}: null' if there is none" if key in self.optional else ""
