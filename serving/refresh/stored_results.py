"""Everything that an export stores of knowledge, computed for what changed or joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np

from configs.command_line import CommandError
from configs.serving import NumberFormat
from models.knowledge import MISSING_ROW
from models.vector_tables import UnstorableVector, stored_vectors
from serving.refresh.knowledge import ClearedRows, SourceChange, VersionKnowledge
from serving.refresh.parts import StoredFunctions
from serving.refresh.version import (
    AUGMENTED,
    PROJECTED,
    IdLookup,
    MatchReduction,
    RefreshDescription,
    StoredVariables,
    read_match,
    read_prior,
    read_source_table,
)

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

    def forget(self, lookups: Mapping[str, IdLookup], forgotten: ClearedRows) -> None:
        """Gives the rows of those who are forgotten what row 0 has, that of unknown ids."""
        for entity, rows in forgotten.rows.items():
            for name in self._names(f"{entity}s/") if len(rows) else ():
                self._clear_rows(name, rows)
            if len(rows):
                self.changed |= lookups[entity].variables(f"{entity}s")
        for source, rows in forgotten.vacated.items():
            match = f"knowledge/{source}/match"
            augmented = self._variables.names(f"knowledge/{source}/augmented/")
            for name in (*augmented, f"{match}/table", f"{match}/slots"):
                self._clear_rows(name, rows)

    def _clear_rows(self, name: str, rows: np.ndarray) -> None:
        if len(rows) and self.has(name):
            table = self.value(name).copy()
            table[rows] = table[0]
            self.changed[name] = table

    def set_knowledge_rows(self, source: str, entity: str, change: SourceChange) -> None:
        """Says which knowledge row of a source each affected item or user has from now on."""
        names = [f"{entity}s/knowledge_row/{source}"]
        if entity == "item":
            names.append(f"items/match_row/{source}")
        for name in names:
            self.set_rows(name, change.affected, change.entities.rows[change.affected])

    def set_match(self, source: str, change: SourceChange, match: MatchReduction) -> None:
        """Stores the changed rows of a match's item table."""
        name = f"knowledge/{source}/match"
        self.set_rows(f"{name}/table", change.rows, match.rows(change.vectors.astype(np.float32)))
        self.set_rows(f"{name}/slots", change.rows, change.rows)

    def set_vectors(self, name: str, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Stores vectors [k, width] in a table's number format; does nothing without the table.

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
        for part, new_rows in stored.items():
            self.set_rows(f"{name}/{part}", rows, new_rows)

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
        """Sets rows of a table, which grows as needed; does nothing without the table."""
        if name not in self._variables or not len(rows):
            return
        table = self.value(name)
        missing = int(rows.max()) + 1 - len(table)
        if missing > 0:
            table = np.pad(table, [(0, missing)] + [(0, 0)] * (table.ndim - 1))
        table[rows] = values.astype(table.dtype)
        self.changed[name] = table


_REPLACED_ID, _RETRIEVED_VECTOR = "items/replaced_id", "items/retrieved_vector"

Changes = Mapping[str, SourceChange]


class NextResults:
    """Tables of the next version that differ from those of the base version.

    Attributes:
      tables: its variables.
      source_tables: (source, file name) -> table by knowledge row, where it changed.
    """

    def __init__(self, knowledge: VersionKnowledge):
        """Begins with what the version has.

        Args:
          knowledge: of the version, with the changes applied.
        """
        self._knowledge = knowledge
        self.tables = NextTables(knowledge.variables)
        self.source_tables: dict[tuple[str, str], np.ndarray] = {}

    def source_table(self, source: str, name: str) -> np.ndarray:
        """A table from which others are made, as far as it has changed."""
        if (source, name) not in self.source_tables:
            return read_source_table(self._knowledge.folder.source(source), name)
        return self.source_tables[source, name]

    def rows_of_items(self, source: str, name: str, rows: np.ndarray) -> np.ndarray:
        """What a table of a source has for item rows; zeros for items that it does not know."""
        return self.source_table(source, name)[self._knowledge.entities[source].rows[rows]]

    def set_source_rows(
        self, source: str, name: str, change: SourceChange, vectors: np.ndarray
    ) -> None:
        """Keeps the changed rows of a table from which others are made."""
        table = self.source_table(source, name)
        missing = change.entities.num_knowledge_rows - len(table)
        table = np.pad(table, [(0, missing), (0, 0)])
        table[change.rows] = vectors
        self.source_tables[source, name] = table

    def replaced_ids(self, rows: np.ndarray) -> np.ndarray:
        """The sums of projections in the place of item ids: float32 [rows, width].

        Row 0 of every such table is zeros, so that sources that do not know an item add nothing.
        """
        sources = self._knowledge.description.replaced_id_sources
        parts = [self.rows_of_items(source, PROJECTED, rows) for source in sources]
        return np.add.reduce(parts, axis=0, dtype=np.float32)


def next_results(
    knowledge: VersionKnowledge, changes: Changes, forgotten: ClearedRows
) -> NextResults:
    """Computes the rows of all tables that depend on what changes.

    Args:
      knowledge: of the version, with the changes applied.
      changes: source -> what changes.
      forgotten: whose rows are cleared.

    Raises:
      CommandError: a file of the version is missing or damaged.
    """
    results = NextResults(knowledge)
    tables, description, folder = results.tables, knowledge.description, knowledge.folder
    for entity, lookup in knowledge.lookups.items():
        (tables.add_items if entity == "item" else tables.add_users)(lookup)
    functions = StoredFunctions(folder.functions) if _needs_functions(knowledge, changes) else None
    for source, change in changes.items():
        described = description.sources[source]
        tables.set_knowledge_rows(source, described.entity, change)
        vectors = change.vectors.astype(np.float32)
        if functions is not None and _is_augmented(knowledge, source):
            augmented = functions.augment(source, vectors)
            tables.set_vectors(f"knowledge/{source}/augmented", change.rows, augmented)
            if source in description.retrieved_sources:
                results.set_source_rows(source, AUGMENTED, change, augmented)
        if functions is not None and source in description.replaced_id_sources:
            projected = functions.project(source, vectors)
            results.set_source_rows(source, PROJECTED, change, projected)
        if tables.has(f"knowledge/{source}/match/table"):
            tables.set_match(source, change, read_match(folder.source(source)))
        if described.length_scale is not None:
            prior = read_prior(folder.source(source), described.length_scale)
            values = prior.predict(change.vectors_of_affected())
            tables.set_rows(f"items/prior/{source}", change.affected, values)
    affected = _affected(changes, description.replaced_id_sources)
    if len(affected):
        tables.set_vectors(_REPLACED_ID, affected, results.replaced_ids(affected))
    if description.is_retrieval and functions is not None:
        _set_item_vectors(results, knowledge, changes, functions)
    # Last: a member of a group that has a new answer may be among those who are forgotten.
    tables.forget(knowledge.lookups, forgotten)
    for source, rows in forgotten.vacated.items():
        for name in _made_tables(description, source):
            table = results.source_table(source, name)
            table[rows] = 0
            results.source_tables[source, name] = table
    return results


def _needs_functions(knowledge: VersionKnowledge, changes: Changes) -> bool:
    description = knowledge.description
    return description.is_retrieval or any(
        _is_augmented(knowledge, source) or source in description.replaced_id_sources
        for source in changes
    )


def _is_augmented(knowledge: VersionKnowledge, source: str) -> bool:
    """Whether something is stored that was made from augmented vectors of a source."""
    return (
        f"knowledge/{source}/augmented/values" in knowledge.variables
        or source in knowledge.description.retrieved_sources
    )


def _affected(changes: Changes, sources: Iterable[str]) -> np.ndarray:
    """Rows of items whose knowledge of one of the sources changes, ascending."""
    rows = [changes[source].affected for source in sources if source in changes]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))


def _made_tables(description: RefreshDescription, source: str) -> list[str]:
    """Tables of a source from which others are made."""
    tables = {AUGMENTED: description.retrieved_sources, PROJECTED: description.replaced_id_sources}
    return [name for name, sources in tables.items() if source in sources]


def _set_item_vectors(
    results: NextResults,
    knowledge: VersionKnowledge,
    changes: Changes,
    functions: StoredFunctions,
) -> None:
    """Stores the vectors of a retrieval model's items."""
    description, tables = knowledge.description, results.tables
    items = [source for source in changes if description.sources[source].entity == "item"]
    rows = _affected(changes, items)
    if not len(rows):
        return
    priors = [tables.value(f"items/prior/{source}")[rows] for source in description.prior_sources]
    ids = None
    if description.replaced_id_sources:
        has_vector = np.any(
            [knowledge.entities[source].rows[rows] for source in description.replaced_id_sources],
            axis=0,
        )
        ids = np.where(has_vector[:, np.newaxis], results.replaced_ids(rows), _default_id(tables))
    vectors = functions.item_vectors(
        np.where(rows <= description.num_exported_items, rows, 0).astype(np.int32),
        np.array(priors, np.float32).reshape(len(priors), len(rows)).T,
        [
            results.rows_of_items(source, AUGMENTED, rows)
            for source in description.retrieved_sources
        ],
        ids,
    )
    tables.set_rows(_RETRIEVED_VECTOR, rows, vectors)


def _default_id(tables: NextTables) -> np.ndarray:
    """The vector of an item without knowledge, row 0 in any number format: float32 [1, width]."""
    vector = tables.value(f"{_REPLACED_ID}/values")[:1].astype(np.float32)
    scales = f"{_REPLACED_ID}/scales"
    return vector * tables.value(scales)[0] if tables.has(scales) else vector
