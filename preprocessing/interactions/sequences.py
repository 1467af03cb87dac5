"""The interactions of each user, in order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.csv_blocks import LINE
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.reading import ITEM, RATING, TIMESTAMP, USER, parse_integers


@dataclass(frozen=True)
class UserSequences:
    """Interactions of some users, all of each, sorted by user, then time, then item.

    Attributes:
      users: [users] ids.
      items: [rows] ids.
      ratings: [rows] float64.
      timestamps: [rows] int64.
      user_of_row: [rows] index into `users`.
      starts: [users] row of each user's first interaction.
      counts: [users] number of interactions, n_u.
      positions: [rows] number of the user's interactions before the row.
    """

    users: list[str]
    items: list[str]
    ratings: np.ndarray
    timestamps: np.ndarray
    user_of_row: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    positions: np.ndarray


def order_interactions(
    table: pa.Table, path: str, integer_items: bool
) -> tuple[UserSequences, list[DeadLetter]]:
    """Sorts interactions and takes out repeated ones.

    Args:
      table: interactions of some users, in any order.
      path: the interaction file, for dead letters.
      integer_items: True when all item ids of the whole file are integers; interactions of a user
        at the same time are then in the numeric order of their items, else in text order.

    Returns:
      The sequences, and a dead letter for each interaction that repeats user, item and time of an
      earlier line.
    """
    item_order = parse_integers(table[ITEM]) if integer_items else pa.nulls(len(table), pa.int64())
    table = table.append_column("item_order", item_order)
    keys = [USER, TIMESTAMP, "item_order", ITEM, LINE]
    table = table.sort_by([(key, "ascending") for key in keys]).combine_chunks()
    repeats = _repeats_row_above(table)
    lines = table[LINE].to_numpy()
    first_of_run = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(lines))))
    dead_letters = [
        dead_letter(
            path,
            lines[row],
            "duplicate_interaction",
            f"same user, item and time as line {lines[first_of_run[row]]}",
        )
        for row in np.flatnonzero(repeats)
    ]
    return _sequences(table.filter(pa.array(~repeats))), dead_letters


def _repeats_row_above(table: pa.Table) -> np.ndarray:
    repeats = np.zeros(len(table), dtype=bool)
    if len(table) > 1:
        above, below = table.slice(0, len(table) - 1), table.slice(1)
        same = [pc.equal(above[key], below[key]).to_numpy() for key in (USER, ITEM, TIMESTAMP)]
        repeats[1:] = np.logical_and.reduce(same)
    return repeats


def _sequences(table: pa.Table) -> UserSequences:
    encoded = table[USER].combine_chunks().dictionary_encode()
    user_of_row = encoded.indices.to_numpy().astype(np.int64)
    counts = np.bincount(user_of_row, minlength=len(encoded.dictionary)).astype(np.int64)
    starts = np.cumsum(counts) - counts
    return UserSequences(
        users=encoded.dictionary.to_pylist(),
        items=table[ITEM].to_pylist(),
        ratings=table[RATING].to_numpy(),
        timestamps=table[TIMESTAMP].to_numpy(),
        user_of_row=user_of_row,
        starts=starts,
        counts=counts,
        positions=np.arange(len(table)) - starts[user_of_row],
    )
