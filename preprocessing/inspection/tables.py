"""Tables: Parquet, CSV and .npz files."""

from __future__ import annotations

import csv
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing.inspection.values import cut, plain_value
from preprocessing.records.errors import DamagedRecords

_ROWS_PER_BATCH = 10_000


def view_parquet(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Schema, first rows and column statistics of a Parquet file.

    Raises:
      DamagedRecords: it is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            batches = file.iter_batches(batch_size=min(_ROWS_PER_BATCH, limit))
            table = _first_rows(batches, limit, file.schema_arrow)
            schema = {field.name: str(field.type) for field in file.schema_arrow}
    except (OSError, pa.ArrowException) as error:
        raise DamagedRecords(f"{path}: not a whole Parquet file ({error})") from error
    return {
        "rows": rows,
        "rows_read": len(table),
        "schema": schema,
        "records": [
            {name: _shown(value) for name, value in row.items()}
            for row in table.slice(0, records).to_pylist()
        ],
        "columns": {name: _column_statistics(table[name]) for name in table.column_names},
    }


def view_csv(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Header and first rows of a CSV file."""
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        rows = list(itertools.islice(reader, min(records, limit)))
        read = len(rows) + sum(1 for _ in itertools.islice(reader, limit - len(rows)))
    return {
        "columns": header,
        "rows_read": read,
        "records": [dict(zip(header, map(cut, row), strict=False)) for row in rows],
    }


def view_arrays(path: Path) -> dict[str, Any]:
    """Shape, type and range of every array of an .npz file.

    Raises:
      DamagedRecords: it is damaged, or holds something else than numbers and texts.
    """
    arrays: dict[str, dict[str, object]] = {}
    try:
        with np.load(path, allow_pickle=False) as opened:
            for name in opened.files:
                array = opened[name]
                arrays[name] = {"shape": list(array.shape), "type": str(array.dtype)}
                if array.size and array.dtype.kind in "fiu":
                    arrays[name] |= _range(array.astype(np.float64).ravel())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedRecords(f"{path}: not a whole .npz file ({error})") from error
    return {"arrays": arrays}


def _first_rows(batches: Any, limit: int, schema: pa.Schema) -> pa.Table:
    kept, rows = [], 0
    for batch in batches:
        kept.append(batch.slice(0, limit - rows))
        rows += len(kept[-1])
        if rows == limit:
            break
    return pa.Table.from_batches(kept, schema)


def _column_statistics(column: pa.ChunkedArray) -> dict[str, object]:
    statistics: dict[str, object] = {"missing": column.null_count}
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        lengths = pc.list_value_length(column).drop_null().to_numpy()
        if len(lengths):
            statistics |= {
                "values_per_row": round(float(lengths.mean()), 3),
                "rows_without_values": int((lengths == 0).sum()),
            }
        return statistics
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers = column.drop_null().to_numpy().astype(np.float64)
        return {**statistics, **_range(numbers)}
    statistics["distinct"] = pc.count_distinct(column).as_py()
    return statistics


def _range(numbers: np.ndarray) -> dict[str, object]:
    """Minimum, mean and maximum of the finite numbers; nothing if there are none."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return {}
    found = {"minimum": finite.min(), "mean": finite.mean(), "maximum": finite.max()}
    return {name: plain_value(np.float64(value)) for name, value in found.items()}


def _shown(value: object) -> object:
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, float):
        return plain_value(np.float64(value))
    return [_shown(entry) for entry in value] if isinstance(value, list) else value
