"""Vectors in Parquet files: `entity_id`, `vector` (a list of numbers), `extraction`, `group_id`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from configs.command_line import CommandError
from preprocessing import storage
from preprocessing.records.contract import ENTITY_ID, EXTRACTION, GROUP_ID, VECTOR
from preprocessing.vector_files.blocks import (
    BLANK,
    RECORDS_PER_BLOCK,
    Problem,
    VectorBlock,
    VectorFile,
    VectorFilePart,
)

_NO_VECTOR = Problem("missing_field", f"'{VECTOR}' is empty")
_NULL_NUMBER = Problem("non_finite_vector", f"a number of '{VECTOR}' is missing")


def parts_of(file: VectorFile) -> list[VectorFilePart]:
    """The row groups of a file.

    Raises:
      CommandError: it is no Parquet file, is cut off, or lacks a column.
    """
    try:
        with storage.open_bytes(file.path) as source:
            opened = parquet.ParquetFile(source)
            _check_columns(file, opened.schema_arrow)
            rows = [
                opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)
            ]
    except (pa.ArrowException, EOFError) as error:
        raise CommandError(f"{file.name}: not a whole Parquet file ({error})") from error
    firsts = np.cumsum([1, *rows]).tolist()
    return [VectorFilePart(file, firsts[group], group) for group in range(len(rows))]


def read_part(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records of a row group.

    Raises:
      CommandError: the file is damaged.
    """
    first = part.first_record
    try:
        with storage.open_bytes(part.file.path) as source:
            file = parquet.ParquetFile(source)
            present = set(file.schema_arrow.names)
            columns = [
                name for name in (ENTITY_ID, VECTOR, EXTRACTION, GROUP_ID) if name in present
            ]
            for batch in file.iter_batches(RECORDS_PER_BLOCK, [part.row_group], columns):
                yield VectorBlock(
                    first,
                    _texts(batch, ENTITY_ID),
                    _vectors(batch[VECTOR]),
                    _texts(batch, EXTRACTION),
                    _texts(batch, GROUP_ID),
                )
                first += batch.num_rows
    except (pa.ArrowException, EOFError, OSError) as error:
        raise CommandError(f"{part.file.name}: damaged from record {first} on ({error})") from error


def _check_columns(file: VectorFile, schema: pa.Schema) -> None:
    for name in (ENTITY_ID, VECTOR):
        if name not in schema.names:
            raise CommandError(
                f"{file.name}: there is no column '{name}'. Its columns: {', '.join(schema.names)}"
            )
    entity, vector = schema.field(ENTITY_ID).type, schema.field(VECTOR).type
    if not (pa.types.is_integer(entity) or _is_text(entity)):
        raise CommandError(f"{file.name}: '{ENTITY_ID}' is {entity}, not texts or whole numbers")
    is_list = (
        pa.types.is_list(vector)
        or pa.types.is_large_list(vector)
        or pa.types.is_fixed_size_list(vector)
    )
    if not is_list or not (
        pa.types.is_floating(vector.value_type) or pa.types.is_integer(vector.value_type)
    ):
        raise CommandError(f"{file.name}: '{VECTOR}' is {vector}, not a list of numbers")
    for name in (EXTRACTION, GROUP_ID):
        if name in schema.names:
            column_type = schema.field(name).type
            if not (_is_text(column_type) or pa.types.is_integer(column_type)):
                raise CommandError(f"{file.name}: '{name}' is {column_type}, not a text")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    if name not in batch.schema.names:
        return [BLANK] * batch.num_rows
    return pc.fill_null(batch[name].cast(pa.string()), BLANK).to_pylist()


def _vectors(column: pa.Array) -> list[np.ndarray | Problem]:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = column.flatten()  # without those of null lists
    numbers = flat.fill_null(0).to_numpy(zero_copy_only=False)
    missing = pc.is_null(flat).to_numpy(zero_copy_only=False)
    vectors: list[np.ndarray | Problem] = []
    start = 0
    for length in lengths.tolist():
        end = start + length
        if not length:
            vectors.append(_NO_VECTOR)
        elif missing[start:end].any():
            vectors.append(_NULL_NUMBER)
        else:
            vectors.append(numbers[start:end])
        start = end
    return vectors
