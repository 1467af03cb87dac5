"""Raw id -> row of an export, outside a graph, with ids that join."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.refresh.checkpoint import StoredVariables
from serving.tables.id_index import UNKNOWN_ROW, WINDOW, IndexContents, fingerprints


class IdLookup:
    """The index of a version's items or users.

    Attributes:
      contents: the index with all ids that joined.
      new_ids: those ids, in the order of their rows.
    """

    def __init__(self, contents: IndexContents):
        """Begins with the ids of a version."""
        self.contents = contents
        self.new_ids: list[str] = []

    @classmethod
    def of_version(cls, variables: StoredVariables, prefix: str) -> IdLookup | None:
        """The index of "items" or "users"; None when the version has none."""
        name = f"{prefix}/index"
        if f"{name}/keys" not in variables:
            return None
        return cls(
            IndexContents(
                keys=variables.read(f"{name}/keys"),
                rows=variables.read(f"{name}/rows"),
                starts=variables.read(f"{name}/starts"),
                shift=np.asarray(variables.read(f"{name}/shift")),
                salt=variables.read(f"{name}/salt").decode(),
            )
        )

    @property
    def num_rows(self) -> int:
        """Rows, row 0 of unknown ids included."""
        return len(self.contents.keys) - WINDOW + 1

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Rows of ids, int32 [ids]; 0 for unknown ones."""
        known = self.contents.keys[:-WINDOW]
        keys = fingerprints(list(ids), self.contents.salt)
        if not len(known) or not len(keys):
            return np.full(len(keys), UNKNOWN_ROW, np.int32)
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        found = known[places] == keys
        return np.where(found, self.contents.rows[places], UNKNOWN_ROW).astype(np.int32)

    def add(self, ids: Sequence[str]) -> None:
        """Lets ids join that are not known yet, without repeats.

        Raises:
          serving.tables.id_index.IndexOverflow: two ids cannot be told apart.
        """
        if ids:
            self.contents = self.contents.with_ids(ids, self.num_rows)
            self.new_ids += ids

    def variables(self, prefix: str) -> dict[str, np.ndarray]:
        """Name -> value of the variables that ids joining changes."""
        name = f"{prefix}/index"
        return {
            f"{name}/keys": self.contents.keys,
            f"{name}/rows": self.contents.rows,
            f"{name}/starts": self.contents.starts,
            f"{name}/shift": self.contents.shift,
        }
