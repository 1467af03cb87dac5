"""Everything that an export stores of knowledge, computed for what changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from serving.refresh.changes import SourceChange
from serving.refresh.functions import StoredFunctions
from serving.refresh.knowledge import VersionKnowledge
from serving.refresh.methods import read_match, read_prior
from serving.refresh.summands import AUGMENTED, PROJECTED, read_summand
from serving.refresh.tables import NextTables

_REPLACED_ID, _RETRIEVED_VECTOR = "items/replaced_id", "items/retrieved_vector"

Changes = Mapping[str, SourceChange]


@dataclass
class NextResults:
    """What the next version holds in other words than the base version.

    Attributes:
      tables: its variables.
      summands: (source, file name) -> table by knowledge row, where it changed.
    """

    tables: NextTables
    summands: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)


def next_results(knowledge: VersionKnowledge, changes: Changes) -> NextResults:
    """Computes the rows of all tables that depend on what changes.

    Args:
      knowledge: of the version, with the changes applied.
      changes: source -> what changes.

    Raises:
      CommandError: a file of the version is missing or damaged.
    """
    results = NextResults(NextTables(knowledge.variables))
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
            tables.set_augmented(source, change, augmented)
            if source in description.retrieved_sources:
                _set_summand(results, knowledge, source, AUGMENTED, change, augmented)
        if functions is not None and source in description.replaced_id_sources:
            projected = functions.project(source, vectors)
            _set_summand(results, knowledge, source, PROJECTED, change, projected)
        if tables.has_match(source):
            tables.set_match(source, change, read_match(folder.source(source)))
        if described.length_scale is not None:
            prior = read_prior(folder.source(source), described.length_scale)
            values = prior.predict(change.vectors_of_affected())
            tables.set_rows(f"items/prior/{source}", change.affected, values)
    affected = _affected(changes, description.replaced_id_sources)
    ids = None
    if len(affected):
        ids = _replaced_ids(results, knowledge, affected)
        tables.set_vectors(_REPLACED_ID, affected, ids)
    if description.is_retrieval and functions is not None:
        _set_item_vectors(results, knowledge, changes, functions)
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


def _set_summand(
    results: NextResults,
    knowledge: VersionKnowledge,
    source: str,
    name: str,
    change: SourceChange,
    vectors: np.ndarray,
) -> None:
    """Keeps the changed rows of a table from which others are made."""
    table = read_summand(knowledge.folder.source(source), name)
    missing = change.entities.num_knowledge_rows - len(table)
    table = np.pad(table, [(0, missing), (0, 0)])
    table[change.rows] = vectors
    results.summands[source, name] = table


def _summand(
    results: NextResults, knowledge: VersionKnowledge, source: str, name: str
) -> np.ndarray:
    if (source, name) not in results.summands:
        return read_summand(knowledge.folder.source(source), name)
    return results.summands[source, name]


def _replaced_ids(
    results: NextResults, knowledge: VersionKnowledge, rows: np.ndarray
) -> np.ndarray:
    """The sums of projections that stand in the place of item ids: float32 [rows, width].

    Row 0 of every summand is zeros, so that sources that do not know an item add nothing.
    """
    parts = [
        _summand(results, knowledge, source, PROJECTED)[knowledge.entities[source].rows[rows]]
        for source in knowledge.description.replaced_id_sources
    ]
    return np.add.reduce(parts, axis=0, dtype=np.float32)


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
        known = np.any(
            [knowledge.entities[source].rows[rows] for source in description.replaced_id_sources],
            axis=0,
        )
        ids = np.where(
            known[:, np.newaxis], _replaced_ids(results, knowledge, rows), _default_id(tables)
        )
    vectors = functions.item_vectors(
        np.where(rows <= description.num_exported_items, rows, 0).astype(np.int32),
        np.array(priors, np.float32).reshape(len(priors), len(rows)).T,
        [
            _summand(results, knowledge, source, AUGMENTED)[knowledge.entities[source].rows[rows]]
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
