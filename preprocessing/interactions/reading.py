"""Interactions from tables: parsed column by column, bad rows set aside with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import Data, Interactions, Split
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records.contract import LARGEST_RATING
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.hashing import stable_hashes
from preprocessing.tables.blocks import ParsedBlock, WantedColumns
from preprocessing.tables.ids import usable_ids
from preprocessing.tables.table_reader import TableReader, open_table
from preprocessing.tables.values import (
    FIRST_SECOND,
    LAST_SECOND,
    fractional_seconds_of,
    numbers_of,
    parse_integers,
    seconds_of,
    texts_of,
)

REJECTED_INTERACTIONS = "rejected_interactions"
REJECTED_CATALOGUE = "rejected_catalogue"
REJECTED_PROFILES = "rejected_profiles"
"""Keys of statistics: rejected rows of a table by reason."""


def by_reason(dead_letters: Iterable[DeadLetter]) -> dict[str, int]:
    """Number of dead letters by reason."""
    return dict(Counter(letter["reason"] for letter in dead_letters))


FILE_COLUMN = "@file"
LINE_COLUMN = "@line"
"""Columns with the index of a row's file and its line; no attribute can have these names."""

PLACE = {FILE_COLUMN: pa.int32(), LINE_COLUMN: pa.int64()}


def first_rows(
    tables: Iterable[pa.Table], schema: pa.Schema, key: str, entity: str, files: Sequence[str]
) -> tuple[pa.Table, list[DeadLetter]]:
    """Brings the parts of a table together and keeps the first row of each id.

    Args:
      tables: of the schema, in any order.
      schema: has the columns `key` and `PLACE`.
      key: column with the ids.
      entity: what an id stands for, "item" or "user".
      files: the files by index.

    Returns:
      Rows in the order of files and lines, and a dead letter for each row that was taken out.
    """
    table = pa.concat_tables([schema.empty_table(), *tables])
    files_and_lines = [table[name].to_numpy() for name in (FILE_COLUMN, LINE_COLUMN)]
    order = np.lexsort(files_and_lines[::-1])
    file_of_row, line_of_row = (numbers[order] for numbers in files_and_lines)
    codes = table[key].combine_chunks().dictionary_encode().indices.to_numpy()[order]
    _, first_of_code = np.unique(codes, return_index=True)
    repeated = np.ones(len(codes), dtype=bool)
    repeated[first_of_code] = False
    dead_letters = []
    for row in np.flatnonzero(repeated).tolist():
        first = first_of_code[codes[row]]
        location, first_place = (
            (int(file_of_row[index]), int(line_of_row[index])) for index in (row, first)
        )
        dead_letters.append(repeated_row(entity, location, first_place, files))
    return table.take(order[np.sort(first_of_code)]), dead_letters


def repeated_row(
    entity: str, location: tuple[int, int], first: tuple[int, int], files: Sequence[str]
) -> DeadLetter:
    """Dead letter of a row whose item or user has an earlier row.

    Args:
      entity: "item" or "user".
      location: index of the row's file, and its line.
      first: the same of the earlier row.
      files: the files by index.
    """
    detail = f"same {entity} as line {first[1]}"
    if first[0] != location[0]:
        detail += f" of {files[first[0]]}"
    return dead_letter(files[location[0]], location[1], f"duplicate_{entity}", detail)


USER = "user"
ITEM = "item"
RATING = "rating"
LABEL = "label"
ORDER = "order"
TIMESTAMP = "timestamp"
PART = "part"
EXTRA_LABELS = "extra_labels"
FILE = "file"
LINE = "line"

INTERACTION_SCHEMA = pa.schema(
    {
        USER: pa.string(),
        ITEM: pa.string(),
        RATING: pa.float64(),
        LABEL: pa.int8(),
        ORDER: pa.float64(),
        TIMESTAMP: pa.int64(),
        PART: pa.int8(),
        EXTRA_LABELS: pa.int64(),
        FILE: pa.int32(),
        LINE: pa.int64(),
    }
)
"""Columns of parsed interactions.

`label` is 0 or 1; `timestamp` has whole seconds, 0 when the log has no time; by `order`, then
`file` and `line`, a user's interactions follow each other; `part` is 0, 1 or 2 (train, validation,
test) when the log names it, else -1; bit n of `extra_labels` is the n-th of `data.labels`; `file`
is the index of the file in the reader's list.
"""

_PATH_KEY = "data.interactions.path"
_COLUMNS_KEY = "data.interactions.columns"
_LABELS = {"0": 0, "1": 1, "false": 0, "true": 1, "0.0": 0, "1.0": 1}
_PARTS = {"train": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "eval": 1, "test": 2}
_NO_PART = -1

KNOWN_PARTS = "train, validation (or valid, val, dev, eval) and test"
UNKNOWN_PART = "unknown_part"
"""Reason of an interaction whose part has another name."""


def open_interactions(data: Data, split: Split) -> TableReader:
    """Finds the files of the log and checks that they have the mapped columns.

    Raises:
      ConfigurationError: see `open_table`; or the split is by a column and none is mapped.
    """
    interactions, labels = data.interactions, data.labels
    mapped = interactions.columns.model_dump()
    if split.by == "column" and mapped[PART] is None:
        raise ConfigurationError(
            f"{_COLUMNS_KEY}.part: 'split.by: column' needs it, the column that says train, "
            "validation or test"
        )
    wanted = {f"{_COLUMNS_KEY}.{name}": column for name, column in mapped.items() if column}
    wanted |= {
        f"data.labels.{name}.column": label.column for name, label in labels.items() if label.column
    }
    optional = frozenset(f"{_COLUMNS_KEY}.{name}" for name in mapped if name not in (USER, ITEM))
    return open_table(interactions, _PATH_KEY, WantedColumns(wanted, optional))


def rows_by_id(interactions: Interactions, forgotten: Forgotten) -> dict[str, dict[str, int]]:
    """For "item" and "user": id -> rows of the log, as they stand in the files.

    Args:
      interactions: the log.
      forgotten: users and items that are left out.

    Raises:
      ConfigurationError: see `open_table`.
    """
    columns = {ITEM: interactions.columns.item, USER: interactions.columns.user}
    wanted = WantedColumns({f"{_COLUMNS_KEY}.{name}": column for name, column in columns.items()})
    tables: dict[str, list[pa.Table]] = {name: [] for name in columns}
    for block in open_table(interactions, _PATH_KEY, wanted).without(forgotten).read():
        for name, column in columns.items():
            ids, usable, _ = usable_ids(block, column, name)
            counted = pc.value_counts(ids.filter(pa.array(usable)).combine_chunks())
            tables[name].append(pa.Table.from_arrays(counted.flatten(), ["id", "rows"]))
    return {name: _added_up(id_counts) for name, id_counts in tables.items()}


def _added_up(tables: list[pa.Table]) -> dict[str, int]:
    if not tables:
        return {}
    added = pa.concat_tables(tables).group_by("id").aggregate([("rows", "sum")])
    return dict(zip(added["id"].to_pylist(), added["rows_sum"].to_pylist(), strict=True))


def parse_interactions(block: ParsedBlock, data: Data) -> tuple[pa.Table, list[DeadLetter]]:
    """Parses records of the log.

    The label is the label column's, or says whether the rating is at least `positive_rating`; a log
    with neither is implicit feedback, every interaction of rating and label 1.

    Args:
      block: records with the mapped columns.
      data: configuration of the data.

    Returns:
      Table of `INTERACTION_SCHEMA`, and dead letters, those of the block included: the two add up
      to the block's records.
    """
    rows = _Rows(block, data)
    columns = data.interactions.columns
    user, item = rows.ids(columns.user, "user_id"), rows.ids(columns.item, "item_id")
    rating = rows.rating()
    label = rows.label(rating)
    timestamp = rows.timestamp()
    order = rows.order()
    part = rows.part()
    extra_labels = rows.extra_labels(rating)
    table = pa.table(
        [
            user,
            item,
            pc.cast(label, pa.float64()) if rating is None else rating,
            label,
            order,
            timestamp,
            part,
            extra_labels,
            *block.places(),
        ],
        schema=INTERACTION_SCHEMA,
    )
    return table.filter(pa.array(~rows.rejected)), rows.dead_letters


class _Rows:
    """Records of a block, and which of them were rejected so far; the first reason counts."""

    def __init__(self, block: ParsedBlock, data: Data):
        self.rejected = np.zeros(len(block.lines), dtype=bool)
        self.dead_letters = list(block.dead_letters)
        self._block = block
        self._data = data
        self._columns = data.interactions.columns

    def ids(self, column: str, name: str) -> pa.ChunkedArray:
        ids, usable, dead_letters = usable_ids(self._block, column, name, ~self.rejected)
        self.rejected |= ~usable
        self.dead_letters += dead_letters
        return ids

    def rating(self) -> pa.ChunkedArray | None:
        if self._columns.rating is None:
            return None
        return self._finite_numbers(self._columns.rating, RATING)

    def label(self, rating: pa.ChunkedArray | None) -> pa.ChunkedArray:
        column = self._columns.label
        if column is not None:
            return self._codes(column, _LABELS, "unparsable_label")
        if rating is not None:
            return pc.cast(pc.greater_equal(rating, self._data.positive_rating), pa.int8())
        return self._repeated(1, LABEL)

    def timestamp(self) -> pa.ChunkedArray:
        column = self._columns.timestamp
        if column is None:
            return self._repeated(0, TIMESTAMP)
        seconds = seconds_of(self._block.table[column], self._data.interactions.time_unit)
        is_time = pc.and_(
            pc.greater_equal(seconds, FIRST_SECOND), pc.less_equal(seconds, LAST_SECOND)
        )
        self._reject("unparsable_timestamp", pc.invert(pc.fill_null(is_time, False)), column)
        return seconds

    def order(self) -> pa.ChunkedArray:
        if self._columns.order is not None:
            return self._finite_numbers(self._columns.order, ORDER)
        column = self._columns.timestamp
        if column is None:
            return self._repeated(0.0, ORDER)
        unit = self._data.interactions.time_unit
        return fractional_seconds_of(self._block.table[column], unit)

    def part(self) -> pa.ChunkedArray:
        column = self._columns.part
        if column is None:
            return self._repeated(_NO_PART, PART)
        return self._codes(column, _PARTS, UNKNOWN_PART)

    def extra_labels(self, rating: pa.ChunkedArray | None) -> pa.ChunkedArray:
        bits: pa.ChunkedArray = self._repeated(0, EXTRA_LABELS)
        for number, label in enumerate(self._data.labels.values()):
            if label.column is not None:
                values = self._codes(label.column, _LABELS, "unparsable_label")
            else:
                values = pc.greater_equal(rating, label.minimum_rating)
            bits = pc.bit_wise_or(bits, pc.shift_left(pc.cast(values, pa.int64()), number))
        return bits

    def _finite_numbers(self, column: str, meaning: str) -> pa.ChunkedArray:
        numbers = numbers_of(self._block.table[column])
        # Ratings become numbers of 32 bits.
        limit = float(np.finfo(np.float32 if meaning == RATING else np.float64).max)
        not_finite = pc.fill_null(pc.invert(pc.less_equal(pc.abs(numbers), limit)), False)
        self._reject(f"non_finite_{meaning}", not_finite, column)
        self._reject(f"unparsable_{meaning}", pc.is_null(numbers), column)
        if meaning == RATING:
            excessive = pc.greater(pc.abs(numbers), LARGEST_RATING)
            self._reject(f"excessive_{meaning}", pc.fill_null(excessive, False), column)
        return numbers

    def _codes(self, column: str, codes: dict[str, int], reason: str) -> pa.ChunkedArray:
        texts = pc.ascii_lower(pc.utf8_trim_whitespace(texts_of(self._block.table[column])))
        index = pc.index_in(texts, pa.array(codes))
        self._reject(reason, pc.is_null(index), column)
        values = pa.array(codes.values(), pa.int8())
        return pa.chunked_array([values.take(chunk) for chunk in index.chunks], pa.int8())

    def _repeated(self, value: float, name: str) -> pa.ChunkedArray:
        scalar = pa.scalar(value, INTERACTION_SCHEMA.field(name).type)
        return pa.chunked_array([pa.repeat(scalar, len(self._block.lines))])

    def _reject(self, reason: str, failed: pa.ChunkedArray, column: str) -> None:
        rows = np.flatnonzero(failed.to_numpy() & ~self.rejected)
        if not len(rows):
            return
        texts = texts_of(self._block.table[column]).take(pa.array(rows)).to_pylist()
        for row, text in zip(rows.tolist(), texts, strict=True):
            detail = f"column '{column}': {text.strip()!r}"
            self.dead_letters.append(
                dead_letter(self._block.file.name, int(self._block.lines[row]), reason, detail)
            )
        self.rejected[rows] = True


def has_integer_items(table: pa.Table) -> bool:
    """True when all item ids of a table of interactions are integers."""
    return pc.all(pc.is_valid(parse_integers(table[ITEM]))).as_py() is not False


def sorted_ids(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Distinct ids in text order."""
    distinct = pc.unique(ids)
    return distinct.take(pc.array_sort_indices(distinct))


def numbered_together(
    ids_of_shard: list[pa.Array], numbers_of_shard: list[np.ndarray]
) -> tuple[pa.Array, np.ndarray]:
    """Numbers of each shard's own ids as numbers of all ids.

    Args:
      ids_of_shard: ids of each shard.
      numbers_of_shard: [rows] indices into them; emptied shard by shard, so that only one copy of
        the rows is held.

    Returns:
      [ids] sorted ids of all shards, each once, and [rows of all shards] int32 indices into them.
    """
    ids = sorted_ids(pa.chunked_array(ids_of_shard, pa.string()))
    numbers = np.empty(sum(map(len, numbers_of_shard)), np.int32)
    end = len(numbers)
    for own in reversed(ids_of_shard):
        own_numbers = numbers_of_shard.pop()
        new_number = pc.index_in(own, value_set=ids).to_numpy(zero_copy_only=False)
        numbers[end - len(own_numbers) : end] = new_number[own_numbers]
        end -= len(own_numbers)
    return ids, numbers


def divided_by_shard(table: pa.Table, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Divides a table by the hash of its users; the work does not grow with the shards.

    Yields:
      Number of a shard and its rows, in the order that they had. Shards ascend.
    """
    encoded = table[USER].combine_chunks().dictionary_encode()
    hashes = stable_hashes(encoded.dictionary.to_pylist(), "shard")
    shard_of_row = (hashes % np.uint64(shards)).astype(np.int64)[encoded.indices.to_numpy()]
    order = np.argsort(shard_of_row, kind="stable")
    ordered = table.take(pa.array(order)).combine_chunks()
    numbers, starts, sizes = np.unique(shard_of_row[order], return_index=True, return_counts=True)
    for shard, start, size in zip(numbers.tolist(), starts, sizes, strict=True):
        yield shard, ordered.slice(start, size)


def table_to_bytes(table: pa.Table) -> bytes:
    """Arrow IPC stream of a table, lightly compressed: runners may keep many of them."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table_from_bytes(data: bytes) -> pa.Table:
    """Table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()


def concatenate(parts: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """One table of many IPC streams; empty when there are none."""
    return pa.concat_tables([schema.empty_table(), *map(table_from_bytes, parts)])
