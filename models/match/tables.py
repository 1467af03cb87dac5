"""From knowledge vectors to the item tables that a match reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.match.kinds import MatchMethod
from models.reduction import (
    by_blocks,
    cluster_landmarks,
    known_rows,
    mean_vector,
    nystroem_features,
    principal_directions,
    unit_rows,
)


@dataclass(frozen=True)
class Reduction:
    """A frozen reduction of knowledge vectors, which new items go through as well.

    Attributes:
      centre: [vector width], subtracted from every vector.
      basis: [vector width, directions]: principal directions (means), landmarks (low-rank ridge) or
        nothing (exact ridge).
    """

    centre: np.ndarray
    basis: np.ndarray

    @classmethod
    def fit(cls, method: MatchMethod, vectors: np.ndarray, dimension: int) -> Reduction:
        """Fits centre and basis to the rows that hold a vector: [rows, vector width]."""
        vectors = np.asarray(vectors, np.float32)
        centre = mean_vector(vectors)
        known = known_rows(vectors)
        if method.kind == "means":
            basis = principal_directions(vectors[known] - centre, dimension, whiten=True)
        elif method.has_landmarks and known.any():
            basis = cluster_landmarks(vectors, centre, dimension).T
        else:
            basis = np.zeros([len(centre), 0], np.float32)
        return cls(centre, basis)

    def landmark_cosines(self) -> np.ndarray:
        """Cosines among the landmarks, [landmarks, landmarks]."""
        return (self.basis.T @ self.basis).astype(np.float32)

    def apply(self, method: MatchMethod, vectors: np.ndarray) -> np.ndarray:
        """Reduces vectors to table rows; vectors of zeros become rows of zeros.

        Args:
          method: what the rows are for.
          vectors: [rows, vector width].

        Returns:
          [rows, width], float32: whitened principal components of length 1 (means), vectors of
          length 1 (exact ridge), Nystroem features, or cosines with the landmarks where the graph
          makes the features.
        """
        return by_blocks(
            lambda block: self._of_block(method, block), np.asarray(vectors, np.float32)
        )

    def _of_block(self, method: MatchMethod, vectors: np.ndarray) -> np.ndarray:
        centred = vectors - self.centre
        if method.kind == "means":
            reduced = unit_rows(centred @ self.basis)
        elif method.form == "exact":
            reduced = unit_rows(centred)
        else:
            reduced = unit_rows(centred) @ self.basis
            if not method.learned:
                reduced = nystroem_features(
                    reduced, self.landmark_cosines(), method.length_scale, method.bias
                )
        return reduced * known_rows(vectors)[:, np.newaxis]


@dataclass(frozen=True)
class TableSizes:
    """Sizes of the item tables of one source.

    Attributes:
      num_rows: rows of the table, row 0 ("missing") included.
      width: columns of the table.
      num_folds: fold tables.
      vector_width: width of the knowledge vectors; 0 when the table came ready.
      basis_width: columns of the reduction's basis.
    """

    num_rows: int
    width: int
    num_folds: int = 0
    vector_width: int = 0
    basis_width: int = 0


@dataclass(frozen=True)
class MatchTables:
    """The item tables of one source; row 0 of each means "missing".

    Attributes:
      table: [rows, width], made from everything.
      known: bool [rows], which rows hold a vector.
      fold_tables: [folds, rows, width], each made without the users of a fold; folds may be 0.
      fold_known: bool [folds, rows].
      reduction: what made `table`, for new items; None when the table came ready.
      landmark_cosines: [1 + folds, width, width] where the graph makes Nystroem features, else
        None; the first are those of `table`.
    """

    table: np.ndarray
    known: np.ndarray
    fold_tables: np.ndarray
    fold_known: np.ndarray
    reduction: Reduction | None = None
    landmark_cosines: np.ndarray | None = None

    @property
    def sizes(self) -> TableSizes:
        """Sizes of the tables."""
        basis = np.zeros([0, 0]) if self.reduction is None else self.reduction.basis
        return TableSizes(
            num_rows=self.table.shape[0],
            width=self.table.shape[1],
            num_folds=len(self.fold_tables),
            vector_width=basis.shape[0],
            basis_width=basis.shape[1],
        )

    @classmethod
    def of_rows(cls, table: np.ndarray) -> MatchTables:
        """Takes a table that is reduced already, [rows, width]; rows of zeros are missing."""
        table = np.asarray(table, np.float32)
        known = (np.arange(len(table)) > 0) & (known_rows(table) | (table.shape[1] == 0))
        return cls(table, known, np.zeros([0, *table.shape]), np.zeros([0, len(table)], bool))

    @classmethod
    def from_vectors(
        cls,
        method: MatchMethod,
        vectors: np.ndarray,
        dimension: int,
        fold_vectors: Sequence[np.ndarray] | np.ndarray = (),
    ) -> MatchTables:
        """Reduces knowledge vectors.

        Args:
          method: what the tables are for.
          vectors: [rows, vector width], without row 0; a row of zeros is missing.
          dimension: principal directions or landmarks.
          fold_vectors: for a source made from ratings, [folds, rows, vector width]: its vectors
            without the users of each fold. Every fold has a basis of its own.
        """
        everything = [np.asarray(part, np.float32) for part in (vectors, *fold_vectors)]
        reductions = [Reduction.fit(method, part, dimension) for part in everything]
        reduced = [
            reduction.apply(method, part)
            for reduction, part in zip(reductions, everything, strict=True)
        ]
        width = max(part.shape[1] for part in reduced)
        tables = np.zeros([len(reduced), 1 + len(vectors), width], np.float32)
        known = np.zeros(tables.shape[:2], bool)
        for number, part in enumerate(reduced):
            tables[number, 1:, : part.shape[1]] = part
            known[number, 1:] = known_rows(everything[number])
        cosines = None
        if method.computes_features:
            cosines = np.stack(
                [_filled_square(one.landmark_cosines(), width) for one in reductions]
            )
        return cls(tables[0], known[0], tables[1:], known[1:], reductions[0], cosines)


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Fills rows up with zeros: [rows, k] -> [rows, width]."""
    return np.pad(rows, [(0, 0), (0, width - rows.shape[1])])


def _filled_square(cosines: np.ndarray, width: int) -> np.ndarray:
    """Cosines among landmarks, filled up with landmarks at right angles to everything."""
    filled = np.eye(width, dtype=np.float32)
    filled[: len(cosines), : len(cosines)] = cosines
    return filled
