"""From accepted vectors to the knowledge rows that change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.knowledge import MISSING_ROW
from serving.refresh.entities import (
    COLLECTIVE,
    INDIVIDUAL,
    NO_GROUP,
    KnownEntities,
    digests_of,
)


@dataclass(frozen=True)
class NewVectors:
    """Accepted vectors of one source, each entity and each group once.

    Attributes:
      entities: int [n], item or user rows.
      entity_vectors: float16 [n, dimension].
      groups: int [m], places in `KnownEntities.group_ids`.
      group_vectors: float16 [m, dimension].
    """

    entities: np.ndarray
    entity_vectors: np.ndarray
    groups: np.ndarray
    group_vectors: np.ndarray


@dataclass(frozen=True)
class SourceChange:
    """What becomes of a source.

    Attributes:
      entities: who has which answer from now on.
      rows: int [k], ascending: knowledge rows whose vector changed, then new ones at the end.
      vectors: float16 [k, dimension], their vectors.
      affected: int [e], item or user rows with another vector or row than before, ascending.
    """

    entities: KnownEntities
    rows: np.ndarray
    vectors: np.ndarray
    affected: np.ndarray

    def vectors_of_affected(self) -> np.ndarray:
        """Knowledge vectors of the affected entities, float16 [e, dimension]."""
        return self.vectors[np.searchsorted(self.rows, self.entities.rows[self.affected])]


def change_source(known: KnownEntities, new: NewVectors) -> SourceChange:
    """Applies new vectors to what is known of a source.

    An individual answer gives its entity a row of its own, or changes it; the answer of a group
    changes the row that its members without one of their own share. Vectors that are there already,
    bit for bit, change nothing.

    Args:
      known: the source, new entities included.
      new: accepted vectors.
    """
    digests = known.digests.copy()
    group_rows = rows_of_groups(known)[new.groups]
    group_digests = digests_of(new.group_vectors)
    changed_groups = (group_rows != MISSING_ROW) & (digests[group_rows] != group_digests)

    own_rows = known.rows[new.entities]
    has_own = known.origins[new.entities] == INDIVIDUAL
    own_digests = digests_of(new.entity_vectors)
    changed_own = has_own & (digests[own_rows] != own_digests)

    number_new = int(np.sum(~has_own))
    new_rows = np.arange(len(digests), len(digests) + number_new, dtype=np.int32)
    rows = np.concatenate([group_rows[changed_groups], own_rows[changed_own], new_rows])
    vectors = np.concatenate(
        [
            new.group_vectors[changed_groups],
            new.entity_vectors[changed_own],
            new.entity_vectors[~has_own],
        ]
    )
    digests = np.pad(digests, (0, number_new))
    digests[rows] = np.concatenate(
        [group_digests[changed_groups], own_digests[changed_own], own_digests[~has_own]]
    )
    of_entity, origins = known.rows.copy(), known.origins.copy()
    of_entity[new.entities[~has_own]] = new_rows
    origins[new.entities[~has_own]] = INDIVIDUAL
    order = np.argsort(rows, kind="stable")
    return SourceChange(
        KnownEntities(of_entity, origins, known.groups, known.group_ids, digests),
        rows[order],
        vectors[order],
        np.flatnonzero(np.isin(of_entity, rows)),
    )


def rows_of_groups(known: KnownEntities) -> np.ndarray:
    """Knowledge row of every group's answer, int32 [groups]; 0 where nobody uses one.

    A collective answer that names no group is nobody else's.
    """
    rows = np.full(len(known.group_ids), MISSING_ROW, np.int32)
    members = np.flatnonzero((known.origins == COLLECTIVE) & (known.groups != NO_GROUP))
    rows[known.groups[members]] = known.rows[members]
    return rows
