"""Features of examples as columns of a table, for what scores are divided by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from preprocessing.records.contract import Feature, FeatureType
from preprocessing.records.parsing import example_dataset

_READ_BATCH = 8192


class ExampleColumns:
    """Reads features of examples, in any steps, beside whoever else reads the same files."""

    def __init__(self, files: Sequence[str | Path], features: Sequence[Feature]):
        """Names the files.

        Args:
          files: GZIP TFRecord files.
          features: single numbers, lists of texts, and lists of at most one number.
        """
        self._features = features
        self._read = self._tables(files)
        self._left: list[pa.Table] = []

    def take(self, count: int) -> pa.Table:
        """The next examples.

        Returns:
          A column for each feature: numbers, null where they are not known, and lists of texts.
        """
        while sum(table.num_rows for table in self._left) < count:
            self._left.append(next(self._read))
        joined = pa.concat_tables(self._left)
        self._left = [joined.slice(count)]
        return joined.slice(0, count)

    def _tables(self, files: Sequence[str | Path]) -> Iterator[pa.Table]:
        for parsed in example_dataset(files, _READ_BATCH, self._features):
            yield pa.table(
                {
                    feature.name: _column(parsed[feature.name].numpy(), feature)
                    for feature in self._features
                }
            )


def _column(values: np.ndarray, feature: Feature) -> pa.Array:
    if not feature.is_list:
        return pa.array(values)
    if feature.type is FeatureType.FLOAT:
        unknown = np.full([len(values), 1], np.nan, np.float32)
        first = np.concatenate([values, unknown], axis=1)[:, 0]
        return pa.array(first, from_pandas=True)
    known = values != b""
    ends = np.cumsum(known.sum(axis=1))
    texts = pa.array(values[known], pa.binary()).cast(pa.string())
    return pa.ListArray.from_arrays(np.r_[0, ends].astype(np.int32), texts)
