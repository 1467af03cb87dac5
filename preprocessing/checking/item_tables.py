"""Item attributes and vocabularies of the step `examples`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import number, section
from preprocessing.records import item_attributes
from preprocessing.records.contract import ITEM_ID
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.vocabularies import read_vocabulary

_ROWS_PER_BATCH = 1 << 16


def check_vocabularies(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> None:
    """Reads every vocabulary and compares its size with the manifest."""
    directory = ExamplesDirectory(folder)
    sizes = section(section(manifest, "counts"), "vocabularies")
    for vocabulary in sizes:
        size = number(sizes, vocabulary)
        path = directory.vocabulary(vocabulary)
        file = f"{name}/{path.relative_to(folder).as_posix()}"
        try:
            values = read_vocabulary(path)
        except DamagedRecords as error:
            findings.error("damaged_file", file, str(error).removeprefix(f"{path}: "))
            continue
        if size is not None and len(values) != size:
            findings.error(
                "wrong_record_count",
                file,
                f"has {len(values):,} values, the manifest says {size:,}",
            )


def check_item_attributes(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> None:
    """Columns, order and number of the rows, and that every known item has one."""
    directory = ExamplesDirectory(folder)
    path = directory.item_attributes
    file = f"{name}/{path.name}"
    try:
        with pq.ParquetFile(path) as opened:
            for column, column_type in item_attributes.FIXED_COLUMNS.items():
                place = opened.schema_arrow.get_field_index(column)
                if place < 0 or opened.schema_arrow.field(place).type != column_type:
                    findings.error("wrong_type", file, f"has no column '{column}', {column_type}")
                    return
            known = set(read_vocabulary(directory.vocabulary(ITEM_ID)))
            rows = _check_item_ids(opened, known, file, findings)
    except (OSError, pa.ArrowException) as error:
        findings.error("damaged_file", file, f"not a whole Parquet file ({error})")
        return
    except DamagedRecords:
        return  # told by check_vocabularies
    expected = number(section(manifest, "counts"), "items")
    if expected is not None and rows != expected:
        findings.error(
            "wrong_record_count", file, f"has {rows:,} rows, the manifest counts {expected:,} items"
        )
    if known:
        findings.error(
            "item_without_attributes",
            file,
            f"lacks {len(known):,} items of the vocabulary, e.g. {min(known)}",
        )


def _check_item_ids(opened: pq.ParquetFile, known: set[str], file: str, findings: Findings) -> int:
    """Number of rows; takes their items out of `known`."""
    rows, previous = 0, ""
    for batch in opened.iter_batches(_ROWS_PER_BATCH, columns=[item_attributes.ITEM_ID]):
        for item in batch.column(0).to_pylist():
            rows += 1
            if item is None or (rows > 1 and item <= previous):
                findings.error("not_sorted", file, "item ids are not sorted, or not unique", rows)
            previous = item or ""
            known.discard(previous)
    return rows
