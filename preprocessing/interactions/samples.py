"""Samples as columns of the record contract."""

from __future__ import annotations

import numpy as np

from preprocessing.hashing import stable_hashes
from preprocessing.interactions.sequences import UserSequences
from preprocessing.records import contract
from preprocessing.records.wire import (
    BytesColumn,
    BytesSequence,
    Column,
    FloatColumn,
    FloatSequence,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
)


def user_folds(users: list[str]) -> np.ndarray:
    """Fold of each user, int64 in [0, USER_FOLDS)."""
    return (stable_hashes(users, "fold") % np.uint64(contract.USER_FOLDS)).astype(np.int64)


class SampleColumns:
    """Columns of CTR examples; what all samples share is computed once.

    Args:
      sequences: all interactions of some users.
      positive_rating: label is 1 when the rating is at least this.
      history_length: interactions kept in a history.
    """

    def __init__(self, sequences: UserSequences, positive_rating: float, history_length: int):
        self._sequences = sequences
        self._history_length = history_length
        self._user_bytes = [user.encode() for user in sequences.users]
        self._item_bytes = [item.encode() for item in sequences.items]
        self._item_sequence = BytesSequence(self._item_bytes)
        self._rating_sequence = FloatSequence(sequences.ratings)
        self._liked = sequences.ratings >= positive_rating
        self._liked_before = self._sum_before(self._liked.astype(np.float64))
        self._rating_before = self._sum_before(sequences.ratings)
        self._folds = user_folds(sequences.users)

    def of_rows(self, rows: np.ndarray) -> dict[str, Column]:
        """Columns of the samples at the given rows, in the given order."""
        sequences = self._sequences
        users = sequences.user_of_row[rows]
        positions = sequences.positions[rows]
        history_starts = rows - np.minimum(positions, self._history_length)
        divisor = np.maximum(positions, 1)
        return {
            contract.USER_ID: BytesColumn([self._user_bytes[user] for user in users]),
            contract.ITEM_ID: BytesColumn([self._item_bytes[row] for row in rows]),
            contract.LABEL: FloatColumn(self._liked[rows]),
            contract.RATING: FloatColumn(sequences.ratings[rows]),
            contract.HISTORY_ITEM_ID: RaggedBytesColumn(self._item_sequence, history_starts, rows),
            contract.HISTORY_RATING: RaggedFloatColumn(self._rating_sequence, history_starts, rows),
            contract.USER_SHARE_LIKED: FloatColumn(self._liked_before[rows] / divisor),
            contract.USER_MEAN_RATING: FloatColumn(self._rating_before[rows] / divisor),
            contract.USER_LOG_COUNT: FloatColumn(np.log1p(positions)),
            contract.TIMESTAMP: Int64Column(sequences.timestamps[rows]),
            contract.POSITION: Int64Column(positions),
            contract.USER_FOLD: Int64Column(self._folds[users]),
        }

    def _sum_before(self, values: np.ndarray) -> np.ndarray:
        """Sum over the user's earlier interactions, for each row."""
        before = np.cumsum(values) - values
        return before - before[self._sequences.starts][self._sequences.user_of_row]
