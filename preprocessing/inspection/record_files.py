"""TFRecord files: the first records, and statistics of the features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preprocessing.inspection.feature_statistics import FeatureStatistics
from preprocessing.inspection.values import shown_values
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire_reader import decode_example


def view_records(paths: Sequence[Path], records: int, limit: int) -> dict[str, Any]:
    """The first records of some TFRecord files, read one after the other.

    Args:
      paths: GZIP TFRecord files.
      records: how many records are shown.
      limit: how many records are read for the statistics.

    Raises:
      DamagedRecords: a file is damaged, or a record is no `tf.train.Example`.
    """
    shown: list[dict[str, object]] = []
    statistics = FeatureStatistics()
    read = 0
    serialized = itertools.chain.from_iterable(
        ((path, number, record) for number, record in enumerate(read_records(path), start=1))
        for path in paths
    )
    for path, number, record in itertools.islice(serialized, limit):
        try:
            decoded = decode_example(record)
        except ValueError as error:
            raise DamagedRecords(f"{path}: record {number}: {error}") from error
        statistics.add(decoded)
        read += 1
        if len(shown) < records:
            shown.append({name: shown_values(values) for name, values in decoded.items()})
    more = next(serialized, None) is not None
    return {
        "records_read": read,
        "all_records_read": not more,
        "records": shown,
        "features": statistics.summary(),
    }
