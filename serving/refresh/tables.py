"""The variables of the next version: rows that changed, rows that joined, all others as they were.

Names of the variables: `serving.stored_knowledge`.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from configs.command_line import CommandError
from configs.serving import NumberFormat
from models.knowledge import MISSING_ROW
from models.stored_vectors import UnstorableVector, stored_vectors
from serving.refresh.changes import SourceChange
from serving.refresh.checkpoint import StoredVariables
from serving.refresh.id_lookup import IdLookup
from serving.refresh.methods import MatchReduction

_ITEM_ID = "items/id"


class NextTables:
    """Collects the values of variables that differ from those of the base version.

    Attributes:
      changed: variable name -> value.
    """

    def __init__(self, variables: StoredVariables):
        """Begins with no change to the variables of a version."""
        self._variables = variables
        self.changed: dict[str, np.ndarray] = {}

    def add_items(self, items: IdLookup) -> None:
        """Gives new items copies of row 0, that of unknown items, in every table of items."""
        if not items.new_ids:
            return
        for name in self._names("items/"):
            rows = self.value(name)
            self.changed[name] = np.concatenate([rows, np.repeat(rows[:1], len(items.new_ids), 0)])
        if _ITEM_ID in self.changed:
            ids = [raw_id.encode() for raw_id in items.new_ids]
            self.changed[_ITEM_ID][-len(ids) :] = ids
        self.changed |= items.variables("items")

    def add_users(self, users: IdLookup) -> None:
        """Gives new users rows that say that no source knows them."""
        if not users.new_ids:
            return
        for name in self._names("users/"):
            padding = (0, len(users.new_ids))
            self.changed[name] = np.pad(self.value(name), padding, constant_values=MISSING_ROW)
        self.changed |= users.variables("users")

    def set_knowledge_rows(self, source: str, entity: str, change: SourceChange) -> None:
        """Says which knowledge row of a source each affected item or user has from now on."""
        names = [f"{entity}s/knowledge_row/{source}"]
        if entity == "item":
            names.append(f"items/match_row/{source}")
        for name in names:
            self.set_rows(name, change.affected, change.entities.rows[change.affected])

    def set_augmented(self, source: str, change: SourceChange, augmented: np.ndarray) -> None:
        """Stores augmented vectors [k, width] of the changed rows, if the version stores any."""
        self.set_vectors(f"knowledge/{source}/augmented", change.rows, augmented)

    def has_match(self, source: str) -> bool:
        """Whether a source is in the version's match."""
        return self.has(f"knowledge/{source}/match/table")

    def set_match(self, source: str, change: SourceChange, match: MatchReduction) -> None:
        """Stores the changed rows of a match's item table."""
        name = f"knowledge/{source}/match"
        self.set_rows(f"{name}/table", change.rows, match.rows(change.vectors.astype(np.float32)))
        self.set_rows(f"{name}/slots", change.rows, change.rows)

    def set_vectors(self, name: str, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Stores vectors [k, width] in the number format of a table; nothing if there is none.

        Raises:
          CommandError: a number does not fit into the format.
        """
        values = f"{name}/values"
        if values not in self._variables:
            return
        number_format = cast(NumberFormat, self.value(values).dtype.name)
        try:
            stored = stored_vectors(vectors, number_format, name)
        except UnstorableVector as error:
            raise CommandError(f"the new answers cannot be stored: {error}") from error
        for part, of_rows in stored.items():
            self.set_rows(f"{name}/{part}", rows, of_rows)

    def _names(self, prefix: str) -> list[str]:
        """Tables by row of items or users, the index left out."""
        index = f"{prefix}index/"
        return [name for name in self._variables.names(prefix) if not name.startswith(index)]

    def has(self, name: str) -> bool:
        """Whether the version stores a variable."""
        return name in self._variables

    def value(self, name: str) -> np.ndarray:
        """The present value of a variable, changes included; not to be written to."""
        return self.changed[name] if name in self.changed else self._variables.read(name)

    def set_rows(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Sets rows of a table, which grows where they lie behind its end; nothing without one."""
        if name not in self._variables or not len(rows):
            return
        table = self.value(name)
        missing = int(rows.max()) + 1 - len(table)
        if missing > 0:
            table = np.pad(table, [(0, missing)] + [(0, 0)] * (table.ndim - 1))
        table[rows] = values.astype(table.dtype)
        self.changed[name] = table
