"""The interactions of each user, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import InteractionColumns
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.reading import (
    EXTRA_LABELS,
    FILE,
    ITEM,
    LABEL,
    LINE,
    ORDER,
    PART,
    RATING,
    TIMESTAMP,
    USER,
)
from preprocessing.tables.numbers import parse_integers


@dataclass(frozen=True)
class UserSequences:
    """Interactions of some users, all of each, sorted by user, then in the user's own order.

    Attributes:
      users: [users] ids.
      item_ids: [items] ids of the items that occur, each once, in text order.
      item_of_row: [rows] index into `item_ids`.
      ratings: [rows] float64.
      labels: [rows] int8, 0 or 1.
      timestamps: [rows] int64, seconds; 0 when there is no time.
      given_parts: [rows] int8, number of the part that the log itself names, or -1.
      extra_labels: [rows] int64, bit n is the n-th of `data.labels`.
      user_of_row: [rows] index into `users`.
      starts: [users] row of each user's first interaction.
      counts: [users] number of interactions, n_u.
      positions: [rows] number of the user's interactions before the row.
    """

    users: list[str]
    item_ids: list[str]
    item_of_row: np.ndarray
    ratings: np.ndarray
    labels: np.ndarray
    timestamps: np.ndarray
    given_parts: np.ndarray
    extra_labels: np.ndarray
    user_of_row: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    positions: np.ndarray

    def items_at(self, rows: np.ndarray) -> list[str]:
        """Item ids of some rows."""
        return [self.item_ids[item] for item in self.item_of_row[rows].tolist()]


def ordered_by(columns: InteractionColumns) -> str | None:
    """What orders a user's interactions: "order", "time", or None for the order of the rows."""
    if columns.order is not None:
        return "order"
    return None if columns.timestamp is None else "time"


def order_interactions(
    table: pa.Table, files: Sequence[str], integer_items: bool, order: str | None = "time"
) -> tuple[UserSequences, list[DeadLetter]]:
    """Sorts interactions and takes out repeated ones.

    By time or by an order column, interactions of a user at the same place are in the numeric order
    of their items when all item ids are integers, else in text order, and one that repeats user,
    item and place of another says nothing new and is taken out. Without either, interactions stay
    in the order of the files and lines, and repeated ones are kept: the log has nothing by which a
    line written twice differs from an item used twice.

    Args:
      table: interactions of some users (`INTERACTION_SCHEMA`), in any order.
      files: the interaction files, which the table names by number.
      integer_items: True when all item ids of the whole log are integers.
      order: "time", "order" or None, see `ordered_by`.

    Returns:
      The sequences, and a dead letter for each interaction that was taken out.
    """
    placed, dead_letters = _placed(table, files, integer_items, order)
    return placed.sequences(table), dead_letters


def without_repeated(
    table: pa.Table, files: Sequence[str], order: str | None
) -> tuple[pa.Table, list[DeadLetter]]:
    """Takes repeated interactions out as `order_interactions` does; the rest is sorted by user."""
    placed, dead_letters = _placed(table, files, integer_items=False, order=order)
    return table.take(placed.rows), dead_letters


@dataclass(frozen=True)
class _Placed:
    """Rows of a table in order, repeated ones left out."""

    rows: np.ndarray
    users: list[str]
    user_of_row: np.ndarray
    item_ids: list[str]
    item_of_row: np.ndarray

    def sequences(self, table: pa.Table) -> UserSequences:
        counts = np.bincount(self.user_of_row, minlength=len(self.users)).astype(np.int64)
        starts = np.cumsum(counts) - counts
        numbers = {
            name: _numbers(table[name])[self.rows]
            for name in (RATING, LABEL, TIMESTAMP, PART, EXTRA_LABELS)
        }
        return UserSequences(
            users=self.users,
            item_ids=self.item_ids,
            item_of_row=self.item_of_row,
            ratings=numbers[RATING],
            labels=numbers[LABEL],
            timestamps=numbers[TIMESTAMP],
            given_parts=numbers[PART],
            extra_labels=numbers[EXTRA_LABELS],
            user_of_row=self.user_of_row,
            starts=starts,
            counts=counts,
            positions=np.arange(len(self.rows)) - starts[self.user_of_row],
        )


def _placed(
    table: pa.Table, files: Sequence[str], integer_items: bool, order: str | None
) -> tuple[_Placed, list[DeadLetter]]:
    users, user_of_row = _ranked(table[USER])
    item_ids, item_of_row = _ranked(table[ITEM])
    lines, file_numbers = _numbers(table[LINE]), _numbers(table[FILE])
    if order is None:
        rows = np.lexsort([lines, file_numbers, user_of_row])
        return _Placed(rows, users, user_of_row[rows], item_ids, item_of_row[rows]), []
    places = _numbers(table[ORDER])
    item_order = _integer_ranks(item_ids) if integer_items else np.arange(len(item_ids))
    rows = np.lexsort([lines, file_numbers, item_order[item_of_row], places, user_of_row])
    repeats = np.zeros(len(rows), dtype=bool)
    keys = [column[rows] for column in (user_of_row, item_of_row, places)]
    repeats[1:] = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    dead_letters = _repeated(rows, repeats, lines, file_numbers, files, order)
    rows = rows[~repeats]
    return _Placed(rows, users, user_of_row[rows], item_ids, item_of_row[rows]), dead_letters


def _repeated(
    rows: np.ndarray,
    repeats: np.ndarray,
    lines: np.ndarray,
    file_numbers: np.ndarray,
    files: Sequence[str],
    order: str,
) -> list[DeadLetter]:
    """Dead letters of repeated rows, each naming the first row of its kind."""
    first_of_run = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(rows))))
    letters = []
    for place in np.flatnonzero(repeats).tolist():
        row, first = rows[place], rows[first_of_run[place]]
        detail = f"same user, item and {order} as line {lines[first]}"
        if file_numbers[row] != file_numbers[first]:
            detail += f" of {files[file_numbers[first]]}"
        letters.append(
            dead_letter(files[file_numbers[row]], lines[row], "duplicate_interaction", detail)
        )
    return letters


def _ranked(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Distinct texts, sorted, and for each row which of them it is."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order).to_pylist(), ranks[encoded.indices.to_numpy()]


def _integer_ranks(item_ids: list[str]) -> np.ndarray:
    """Ranks of distinct ids by number; ids of one number, such as 7 and 07, in text order."""
    numbers = parse_integers(pa.chunked_array([pa.array(item_ids, pa.string())]))
    ranks = np.empty(len(item_ids), dtype=np.int64)
    ranks[np.argsort(numbers.to_numpy(), kind="stable")] = np.arange(len(item_ids))
    return ranks


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().to_numpy()
