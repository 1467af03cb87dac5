"""Attributes of users as columns of the record contract, and how often their values occur."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import Attribute
from preprocessing.interactions.reading import USER
from preprocessing.records.contract import profile_feature
from preprocessing.records.wire import (
    BytesSequence,
    Column,
    FloatSequence,
    RaggedBytesColumn,
    RaggedFloatColumn,
)


class ProfileColumns:
    """Attributes of some users; those without a profile have none.

    Args:
      profiles: one row per user at most: the user and one column per attribute, lists of texts for
        categorical ones and numbers, null when missing, for numeric ones.
      users: the users.
      attributes: configuration of the attributes, by name.
    """

    def __init__(self, profiles: pa.Table, users: list[str], attributes: dict[str, Attribute]):
        profiles = profiles.combine_chunks()
        row = pc.index_in(pa.array(users, pa.string()), value_set=profiles[USER].combine_chunks())
        self._known = row.is_valid().to_numpy(zero_copy_only=False)
        self._row = row.fill_null(0).to_numpy().astype(np.int64)
        self._columns: dict[str, _Texts | _Numbers] = {}
        for name, attribute in attributes.items():
            values = profiles[name].combine_chunks()
            feature = profile_feature(name, attribute.kind).name
            categorical = attribute.kind == "categorical"
            self._columns[feature] = _Texts(values) if categorical else _Numbers(values)

    def of_users(self, users: np.ndarray) -> dict[str, Column]:
        """Feature name -> column for some users, by their numbers."""
        rows, known = self._row[users], self._known[users]
        return {name: column.of_rows(rows, known) for name, column in self._columns.items()}

    def count_values(self, users: np.ndarray) -> dict[str, Counter[str]]:
        """Feature name -> value -> how many of these users have it; categorical ones only."""
        rows = self._row[users[self._known[users]]]
        return {
            name: column.count(rows)
            for name, column in self._columns.items()
            if isinstance(column, _Texts)
        }


class _Texts:
    """Lists of texts."""

    def __init__(self, lists: pa.ListArray):
        lists = lists.fill_null([]) if lists.null_count else lists
        encoded = lists.flatten().dictionary_encode()
        offsets = lists.offsets.to_numpy().astype(np.int64)
        self._offsets = offsets - (offsets[0] if len(offsets) else 0)
        self._values: list[str] = encoded.dictionary.to_pylist()
        self._index = encoded.indices.to_numpy()
        self._sequence = BytesSequence([value.encode() for value in self._values], self._index)

    def of_rows(self, rows: np.ndarray, known: np.ndarray) -> Column:
        starts, ends = self._windows(rows, known)
        return RaggedBytesColumn(self._sequence, starts, ends)

    def count(self, rows: np.ndarray) -> Counter[str]:
        counts = np.zeros(len(self._values), dtype=np.int64)
        for start, end in zip(*self._windows(rows, np.ones(len(rows), bool)), strict=True):
            counts[self._index[start:end]] += 1
        return Counter(dict(zip(self._values, counts.tolist(), strict=True)))

    def _windows(self, rows: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not known.any():
            nothing = np.zeros(len(rows), dtype=np.int64)
            return nothing, nothing
        return self._offsets[rows], np.where(known, self._offsets[rows + 1], self._offsets[rows])


class _Numbers:
    """Numbers; null when missing."""

    def __init__(self, values: pa.Array):
        self._sequence = FloatSequence(values.fill_null(0.0).to_numpy())
        self._present = values.is_valid().to_numpy(zero_copy_only=False)

    def of_rows(self, rows: np.ndarray, known: np.ndarray) -> Column:
        present = known & self._present[rows] if known.any() else known
        return RaggedFloatColumn(self._sequence, rows, rows + present)
