"""What every format of vector files is read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RECORDS_PER_BLOCK = 1024

BLANK = ""


class Problem(NamedTuple):
    """Why a record has no vector.

    Attributes:
      reason: a name of `preprocessing.answers.record`.
      detail: what was found.
    """

    reason: str
    detail: str


def problem_of(vector: np.ndarray) -> Problem | None:
    """Why a vector that was rounded to float16 is of no use; None when it is."""
    if not np.isfinite(vector).all():
        return Problem("non_finite_vector", "a number of the vector is not finite in float16")
    if not vector.any():
        return Problem("zero_vector", "all numbers of the vector are zero")
    return None


@dataclass(frozen=True)
class VectorFile:
    """One file of vectors.

    Attributes:
      order: place in the configuration; the first vector of an entity counts.
      name: how the configuration names it, for people.
      path: absolute path or URL.
    """

    order: int
    name: str
    path: str


@dataclass(frozen=True)
class VectorFilePart:
    """A part of a file that is read on its own.

    Attributes:
      file: the file.
      first_record: number of its first record in the file, counted from 1.
      row_group: Parquet: which row group; None for other formats, whose part is the whole file.
    """

    file: VectorFile
    first_record: int = 1
    row_group: int | None = None


@dataclass(frozen=True)
class VectorBlock:
    """Some records, one after the other.

    Attributes:
      first_record: number of the first one in the file, counted from 1.
      entity_ids: [records].
      vectors: [records] numbers of any width and type, or why the record has none.
      extractions: [records] "" where the file does not say.
      group_ids: [records] "" where the file does not say.
    """

    first_record: int
    entity_ids: Sequence[str]
    vectors: Sequence[np.ndarray | Problem]
    extractions: Sequence[str]
    group_ids: Sequence[str]
