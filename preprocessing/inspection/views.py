"""Views of files: answers, prompts, dead letters, TFRecords with statistics, tables."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command_line import CommandError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import Expected, detect_format
from preprocessing.answers.reading import examine
from preprocessing.answers.record import Answer
from preprocessing.inputs import LONGEST_LINE, bounded_lines
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.item_tables import read_vocabulary
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import Values, decode_example

_SHOWN_AT_ENDS = 3
_LONGEST_TEXT = 200


def shown_values(values: Values) -> object:
    """One value as it is, a short list as it is, a long list as its ends and its length."""
    if not is_long(values):
        plain = [plain_value(value) for value in values]
        return plain[0] if len(plain) == 1 else plain
    ends = (values[:_SHOWN_AT_ENDS], values[-_SHOWN_AT_ENDS:])
    first, last = ([plain_value(value) for value in end] for end in ends)
    return {"count": len(values), "first": first, "last": last}


def is_long(values: Values) -> bool:
    """True for lists of which only the ends are shown."""
    return len(values) > 2 * _SHOWN_AT_ENDS + 2


def plain_value(value: object) -> object:
    """A text, or a number without the digits that float32 does not have."""
    if isinstance(value, bytes):
        return cut(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, np.floating):
        return _float(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return value


def cut(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text of bounded length."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def _float(value: float) -> float | str:
    # JSON has no word for numbers that are not finite.
    return float(f"{value:.6g}") if np.isfinite(value) else str(value)


_MOST_DISTINCT = 100_000
_COMMON = 3


@dataclass
class _Feature:
    """What is known about one feature.

    Attributes:
      type: "bytes", "float32" or "int64".
      records: records that have it.
      values: its values, all records together.
      fewest: values of a record, at least.
      most: values of a record, at most.
      counts: how often each text occurs, until there are too many of them.
      smallest: finite numbers only.
      largest: finite numbers only.
      total: sum of finite numbers.
      zeros: numbers that are 0.
      not_finite: numbers that are no numbers.
    """

    type: str
    records: int = 0
    values: int = 0
    fewest: int = 1 << 62
    most: int = 0
    counts: Counter[bytes] = field(default_factory=Counter)
    smallest: float = np.inf
    largest: float = -np.inf
    total: float = 0.0
    zeros: int = 0
    not_finite: int = 0

    def add(self, values: Values) -> None:
        """Counts the values of one record."""
        self.records += 1
        self.values += len(values)
        self.fewest, self.most = min(self.fewest, len(values)), max(self.most, len(values))
        if not isinstance(values, np.ndarray):
            if len(self.counts) <= _MOST_DISTINCT:
                self.counts.update(values)
            return
        finite = values[np.isfinite(values)]
        self.not_finite += len(values) - len(finite)
        if len(finite):
            self.smallest = min(self.smallest, float(finite.min()))
            self.largest = max(self.largest, float(finite.max()))
            self.total += float(finite.sum(dtype=np.float64))
            self.zeros += int((finite == 0).sum())

    def summary(self) -> dict[str, object]:
        """The statistics, as JSON can hold them."""
        shown: dict[str, object] = {
            "type": self.type,
            "records": self.records,
            "values_per_record": {
                "minimum": self.fewest,
                "mean": round(self.values / self.records, 3),
                "maximum": self.most,
            },
        }
        numbers = self.values - self.not_finite
        if self.type == "bytes":
            exact = len(self.counts) <= _MOST_DISTINCT
            shown["distinct"] = len(self.counts) if exact else f"more than {_MOST_DISTINCT}"
            shown["most_common"] = [
                [plain_value(value), count] for value, count in self.counts.most_common(_COMMON)
            ]
        elif numbers:
            shown |= {
                "minimum": self._number(self.smallest),
                "mean": plain_value(np.float64(self.total / numbers)),
                "maximum": self._number(self.largest),
                "share_of_zeros": round(self.zeros / numbers, 4),
                "not_finite": self.not_finite,
            }
        return shown

    def _number(self, value: float) -> object:
        return int(value) if self.type == "int64" else plain_value(np.float64(value))


class FeatureStatistics:
    """Counts records one by one."""

    def __init__(self) -> None:
        self._features: dict[str, _Feature] = {}

    def add(self, record: Mapping[str, Values]) -> None:
        """Counts one record."""
        for name, values in record.items():
            kind = values.dtype.name if isinstance(values, np.ndarray) else "bytes"
            feature = self._features.setdefault(name, _Feature(kind))
            feature.add(values)

    def summary(self) -> dict[str, dict[str, object]]:
        """Feature -> its statistics."""
        return {name: feature.summary() for name, feature in self._features.items()}


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


_LONGEST_ANSWER = 600
_MOST_NAMES = 50


def view_vocabulary(path: Path, records: int) -> dict[str, Any]:
    """Number of values, and the most frequent ones, which stand first.

    Raises:
      DamagedRecords: it is cut off or names a value twice.
    """
    values = read_vocabulary(path)
    return {
        "values": len(values),
        "first": [cut(value) for value in values[:records]],
        "last": [cut(value) for value in values[-records:]],
    }


def view_dead_letters(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Counts by file and reason, and the first ones."""
    letters = list(itertools.islice(_objects(path), limit))
    counts: dict[str, Counter[str]] = {}
    for letter in letters:
        counts.setdefault(str(letter.get("file")), Counter())[str(letter.get("reason"))] += 1
    return {
        "lines_read": len(letters),
        "by_reason": {
            file: dict(reasons.most_common()) for file, reasons in sorted(counts.items())
        },
        "records": letters[:records],
    }


def view_answers(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Answers of any format that `import` reads, and what it would say of them.

    Raises:
      CommandError: the file has none of these formats.
    """
    form = detect_format(str(path))
    examined = examine([str(path)], [form], Expected(), Thresholds())
    texts = _Texts(records)
    rejected: Counter[str] = Counter()
    for outcome in itertools.islice(examined, limit):
        if isinstance(outcome, Answer):
            texts.add(outcome.record(), outcome.text)
        else:
            rejected[outcome["reason"]] += 1
    return {
        "format": form,
        **texts.view("answer_characters"),
        "rejected_by_reason": dict(rejected.most_common()),
    }


def view_prompts(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Sources and lengths of prompts, and the first ones."""
    texts = _Texts(records)
    for record in itertools.islice(_objects(path), limit):
        texts.add(record, str(record.get("prompt") or ""))
    return texts.view("prompt_characters")


class _Texts:
    """Counts records with a text each.

    Args:
      records: how many are shown.
    """

    def __init__(self, records: int):
        self._records = records
        self._shown: list[dict[str, Any]] = []
        self._sources: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._lengths: list[int] = []

    def add(self, record: dict[str, Any], text: str) -> None:
        """Counts one record."""
        self._sources[f"{record.get('source')}, {record.get('extraction')}"] += 1
        self._models[str(record.get("model"))] += 1
        self._lengths.append(len(text))
        if len(self._shown) < self._records:
            shown = {
                name: cut(value, _LONGEST_ANSWER) if isinstance(value, str) else value
                for name, value in record.items()
            }
            self._shown.append(shown)

    def view(self, lengths_name: str) -> dict[str, Any]:
        """Counts, lengths and the first records."""
        lengths = self._lengths
        return {
            "records_read": len(lengths),
            "sources": dict(self._sources.most_common(_MOST_NAMES)),
            "models": dict(self._models.most_common(_MOST_NAMES)),
            lengths_name: {
                "minimum": min(lengths),
                "median": float(np.median(lengths)),
                "maximum": max(lengths),
            }
            if lengths
            else {},
            "records": self._shown,
        }


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line."""
    for number, line in enumerate(bounded_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path}: line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise CommandError(f"{path}: line {number}: JSON, but not an object")
        yield record


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
    return _view_columns(rows, table, schema, records)


def view_arrow(path: Path, records: int, limit: int) -> dict[str, Any]:
    """The same of an Arrow file.

    Raises:
      DamagedRecords: it is damaged.
    """
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            numbers = range(reader.num_record_batches)
            rows = sum(reader.get_batch(number).num_rows for number in numbers)
            table = _first_rows(map(reader.get_batch, numbers), limit, reader.schema)
            schema = {field.name: str(field.type) for field in reader.schema}
            return _view_columns(rows, table, schema, records)
    except (OSError, pa.ArrowException) as error:
        raise DamagedRecords(f"{path}: not a whole Arrow file ({error})") from error


def _view_columns(
    rows: int, table: pa.Table, schema: Mapping[str, str], records: int
) -> dict[str, Any]:
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
    """Header and first rows of a CSV file.

    Raises:
      DamagedRecords: it is no CSV file.
    """
    csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = list(itertools.islice(reader, min(records, limit)))
            read = len(rows) + sum(1 for _ in itertools.islice(reader, limit - len(rows)))
    except csv.Error as error:
        raise DamagedRecords(f"{path}: not a whole CSV file ({error})") from error
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
    if any(is_list(column.type) for is_list in _IS_LIST):
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
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Arrow counts no distinct structs, maps or views.
    with contextlib.suppress(pa.ArrowNotImplementedError):
        statistics["distinct"] = pc.count_distinct(column).as_py()
    return statistics


_IS_LIST = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def _range(numbers: np.ndarray) -> dict[str, object]:
    """Minimum, mean and maximum of the finite numbers; empty if there are none."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return {}
    figures = {"minimum": finite.min(), "mean": finite.mean(), "maximum": finite.max()}
    return {name: plain_value(np.float64(value)) for name, value in figures.items()}


def _shown(value: object) -> object:
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, float):
        return plain_value(np.float64(value))
    return [_shown(entry) for entry in value] if isinstance(value, list) else value
