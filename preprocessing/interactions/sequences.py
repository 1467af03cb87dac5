"""The interactions of each user in order: samples, their parts, and statistics of items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import InteractionColumns, Split
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
from preprocessing.records.hashing import stable_hashes, unit_interval
from preprocessing.tables.values import parse_integers

HISTORY_ONLY = -1
"""Part number of interactions before k_u: the LLM may have seen them, so they are never samples."""

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Part numbers, indices into `contract.PARTS`."""

TimeCuts = tuple[int, int]
"""Seconds since 1970 at which train and validation end."""


@dataclass(frozen=True)
class SplitRows:
    """The split of some users' interactions.

    Attributes:
      boundaries: [users] k_u, the number of first interactions the LLM may have seen.
      parts: [rows] part number, or HISTORY_ONLY.
      training: [rows] True for training interactions: those that item statistics and vocabularies
        may be made from.
    """

    boundaries: np.ndarray
    parts: np.ndarray
    training: np.ndarray


def knowledge_boundaries(counts: np.ndarray, cap: int) -> np.ndarray:
    """k_u = min(floor((n_u + 1) / 2), cap) (REKI, data protocol).

    Args:
      counts: [users] number of interactions n_u.
      cap: `split.knowledge_history_cap`.
    """
    return np.minimum((counts + 1) // 2, cap)


def split_interactions(
    sequences: UserSequences, split: Split, cuts: TimeCuts | None = None
) -> SplitRows:
    """Divides the interactions of some users into parts.

    time: a user's m samples follow each other: train up to 0.8 m, validation up to 0.9 m, test the
    rest (rounded to the nearest number, halves up). user: all samples of a user belong to one part,
    drawn by a hash of the user. global_time: samples before the first cut are train, before the
    second validation, from there on test. column: the part that the log names.

    Whatever the split, interactions before k_u are no samples.

    Args:
      sequences: all interactions of some users.
      split: how to split.
      cuts: global_time: where the parts end.
    """
    boundaries = knowledge_boundaries(sequences.counts, split.knowledge_history_cap)
    user, position = sequences.user_of_row, sequences.positions
    if split.by == "time":
        samples = sequences.counts - boundaries
        train_end = boundaries + _rounded_share(samples, share_up_to(split, TRAIN))
        validation_end = boundaries + _rounded_share(samples, share_up_to(split, VALIDATION))
        part = _by_ends(position, train_end[user], validation_end[user])
        training = position < train_end[user]
    elif split.by == "user":
        drawn = unit_interval(stable_hashes(sequences.users, f"split {split.seed}"))
        ends = [float(share_up_to(split, part)) for part in (TRAIN, VALIDATION)]
        part = _by_ends(drawn, *ends)[user]
        training = part == TRAIN
    elif split.by == "global_time":
        if cuts is None:
            raise ValueError("split.by=global_time needs cuts")
        part = _by_ends(sequences.timestamps, *cuts)
        training = part == TRAIN
    else:
        part = sequences.given_parts
        training = part == TRAIN
    is_sample = position >= boundaries[user]
    parts = np.where(is_sample, part, HISTORY_ONLY).astype(np.int8)
    return SplitRows(boundaries=boundaries, parts=parts, training=training)


def follows_later_part(sequences: UserSequences, split: SplitRows) -> np.ndarray:
    """Samples with an earlier interaction that the log itself gives to a later part.

    Their histories and user statistics know that interaction, however long ago it was.

    Args:
      sequences: all interactions of some users.
      split: their split, by `split.by=column`; other splits name no part in the log.

    Returns:
      [rows] bool.
    """
    follows = np.zeros(len(split.parts), dtype=bool)
    for part in (TRAIN, VALIDATION):
        is_later = sequences.given_parts > part
        later_before: np.ndarray = np.cumsum(is_later) - is_later
        later_before -= later_before[sequences.starts][sequences.user_of_row]
        follows |= (split.parts == part) & (later_before > 0)
    return follows


def share_up_to(split: Split, part: int) -> Fraction:
    """Share of all samples in the parts up to this one.

    Fractions count as written in the configuration, so that 0.9 * 15 is 13.5.
    """
    return sum((Fraction(str(share)) for share in split.fractions[: part + 1]), Fraction(0))


def _by_ends(
    values: np.ndarray, train_end: np.ndarray | float, validation_end: np.ndarray | float
) -> np.ndarray:
    part = np.where(values < validation_end, VALIDATION, TEST)
    return np.where(values < train_end, TRAIN, part)


def _rounded_share(counts: np.ndarray, share: Fraction) -> np.ndarray:
    return (2 * counts * share.numerator + share.denominator) // (2 * share.denominator)


_SECONDS_PER_HOUR = 3600


def count_sample_hours(sequences: UserSequences, split: Split) -> Counter[int]:
    """Number of samples by hour since 1970."""
    boundaries = knowledge_boundaries(sequences.counts, split.knowledge_history_cap)
    is_sample = sequences.positions >= boundaries[sequences.user_of_row]
    hours, counts = np.unique(
        sequences.timestamps[is_sample] // _SECONDS_PER_HOUR, return_counts=True
    )
    return Counter(dict(zip(hours.tolist(), counts.tolist(), strict=True)))


def time_cuts(hours: Mapping[int, int], split: Split) -> TimeCuts:
    """The two cuts: for each, the first whole hour before which at least its share of samples lies.

    Args:
      hours: number of samples by hour since 1970.
      split: its fractions are the shares.
    """
    total = sum(hours.values())
    wanted = [share_up_to(split, part) * total for part in (TRAIN, VALIDATION)]
    cuts = [0, 0]
    before = 0
    for hour in sorted(hours):
        for number, share in enumerate(wanted):
            if before < share:
                cuts[number] = (hour + 1) * _SECONDS_PER_HOUR
        before += hours[hour]
    return cuts[0], cuts[1]


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
    for index in np.flatnonzero(repeats).tolist():
        row, first = rows[index], rows[first_of_run[index]]
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
