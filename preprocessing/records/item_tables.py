"""Tables beside the examples: attributes and rating statistics of items, and vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import storage
from preprocessing.records.contract import USER_FOLDS, DamagedRecords

ITEM_ID = "item_id"
TITLE = "title"
RATING_SUM = "rating_sum"
RATING_COUNT = "rating_count"
RATING_SUM_BY_FOLD = "rating_sum_by_fold"
RATING_COUNT_BY_FOLD = "rating_count_by_fold"

FIXED_COLUMNS = {
    ITEM_ID: pa.string(),
    TITLE: pa.string(),
    RATING_SUM: pa.float64(),
    RATING_COUNT: pa.int64(),
    RATING_SUM_BY_FOLD: pa.list_(pa.float64(), USER_FOLDS),
    RATING_COUNT_BY_FOLD: pa.list_(pa.int64(), USER_FOLDS),
}
"""Columns that every file has; all others are attributes."""

CATEGORICAL = pa.list_(pa.string())
NUMERIC = pa.float64()


@dataclass(frozen=True)
class ItemAttributes:
    """What is known about every item, in the order of `item_ids`.

    Rating statistics cover training interactions only. Take a user's own fold (`user_fold` of an
    example) away from them to get an item's mean that has not seen the user.

    Attributes:
      item_ids: [items], sorted.
      titles: [items], "" for an item that is not in the catalogue.
      categorical: attribute name -> [items] lists of values.
      numeric: attribute name -> [items] float64, NaN when missing.
      rating_sum: [items] float64.
      rating_count: [items] int64.
      rating_sum_by_fold: [items, folds] float64.
      rating_count_by_fold: [items, folds] int64.
    """

    item_ids: list[str]
    titles: list[str]
    categorical: dict[str, list[list[str]]]
    numeric: dict[str, np.ndarray]
    rating_sum: np.ndarray
    rating_count: np.ndarray
    rating_sum_by_fold: np.ndarray
    rating_count_by_fold: np.ndarray


def read_item_attributes(path: Path) -> ItemAttributes:
    """Reads the file that `WorkDirectory.examples.item_attributes` names.

    Raises:
      DamagedRecords: the file is missing, not Parquet, or a column is missing or of another type.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DamagedRecords(
            f"{path}: cannot be read ({error}); run 'python -m preprocessing examples' first"
        ) from error
    for name, column_type in FIXED_COLUMNS.items():
        if name not in table.column_names or table.schema.field(name).type != column_type:
            raise DamagedRecords(f"{path}: expected a column '{name}' of type {column_type}")
    categorical, numeric = {}, {}
    for field in table.schema:
        if field.name in FIXED_COLUMNS:
            continue
        if field.type == CATEGORICAL:
            categorical[field.name] = table[field.name].to_pylist()
        elif field.type == NUMERIC:
            numeric[field.name] = table[field.name].to_numpy()
        else:
            raise DamagedRecords(
                f"{path}: column '{field.name}' has the unexpected type {field.type}"
            )
    return ItemAttributes(
        item_ids=table[ITEM_ID].to_pylist(),
        titles=table[TITLE].to_pylist(),
        categorical=categorical,
        numeric=numeric,
        rating_sum=table[RATING_SUM].to_numpy(),
        rating_count=table[RATING_COUNT].to_numpy(),
        rating_sum_by_fold=_matrix(table[RATING_SUM_BY_FOLD]),
        rating_count_by_fold=_matrix(table[RATING_COUNT_BY_FOLD]),
    )


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, USER_FOLDS)


def order_by_count(counts: Mapping[str, int]) -> list[str]:
    """Values by count, highest first; equal counts in text order."""
    return sorted(counts, key=lambda value: (-counts[value], value))


def write_vocabulary(path: str | Path, values: Iterable[str]) -> None:
    """Writes one value a line, UTF-8."""
    with storage.create_bytes(str(path)) as file:
        file.write("".join(f"{value}\n" for value in values).encode())


def read_vocabulary(path: Path) -> list[str]:
    """Reads what `write_vocabulary` wrote.

    Raises:
      DamagedRecords: the file is missing, not UTF-8, cut off, or names a value twice.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedRecords(
            f"{path}: cannot be read ({error}); run 'python -m preprocessing examples' first"
        ) from error
    if not text:
        return []
    if not text.endswith("\n"):
        raise DamagedRecords(f"{path}: the last line is cut off")
    values = text[:-1].split("\n")
    if len(set(values)) != len(values):
        raise DamagedRecords(f"{path}: a value occurs twice")
    return values
