"""Samples as columns of the record contract."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from preprocessing.hashing import stable_hashes
from preprocessing.interactions.candidates import (
    SAMPLED,
    CandidateLists,
    Candidates,
    ids_of,
)
from preprocessing.interactions.profile_columns import ProfileColumns
from preprocessing.interactions.sequences import UserSequences
from preprocessing.records import contract
from preprocessing.records.wire import (
    BytesSequence,
    BytesValues,
    Column,
    FloatColumn,
    FloatSequence,
    IndexedBytesColumn,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
)


def user_folds(users: list[str]) -> np.ndarray:
    """Fold of each user, int64 in [0, USER_FOLDS)."""
    return (stable_hashes(users, "fold") % np.uint64(contract.USER_FOLDS)).astype(np.int64)


class UserColumns:
    """Columns that say who the user is and what came before; what all rows share is made once.

    Args:
      sequences: all interactions of some users.
      history_length: interactions kept in a history.
      profiles: attributes of the users.
    """

    def __init__(self, sequences: UserSequences, history_length: int, profiles: ProfileColumns):
        self._sequences = sequences
        self._history_length = history_length
        self._profiles = profiles
        self._users = BytesValues(_encoded(sequences.users))
        self._items = BytesSequence(_encoded(sequences.item_ids), sequences.item_of_row)
        self._ratings = FloatSequence(sequences.ratings)
        self._liked_before = self._sum_before(sequences.labels.astype(np.float64))
        self._rating_before = self._sum_before(sequences.ratings)
        self._folds = user_folds(sequences.users)

    def user(self, rows: np.ndarray) -> dict[str, Column]:
        """The user of each row."""
        return {contract.USER_ID: IndexedBytesColumn(self._users, self._user_of_row(rows))}

    def before(self, rows: np.ndarray) -> dict[str, Column]:
        """The user just before each row, and the user's profile."""
        positions = self._sequences.positions[rows]
        starts = rows - np.minimum(positions, self._history_length)
        divisor = np.maximum(positions, 1)
        users = self._user_of_row(rows)
        return {
            contract.HISTORY_ITEM_ID: RaggedBytesColumn(self._items, starts, rows),
            contract.HISTORY_RATING: RaggedFloatColumn(self._ratings, starts, rows),
            contract.USER_SHARE_LIKED: FloatColumn(self._liked_before[rows] / divisor),
            contract.USER_MEAN_RATING: FloatColumn(self._rating_before[rows] / divisor),
            contract.USER_LOG_COUNT: FloatColumn(np.log1p(positions)),
            contract.TIMESTAMP: Int64Column(self._sequences.timestamps[rows]),
            contract.POSITION: Int64Column(positions),
            contract.USER_FOLD: Int64Column(self._folds[users]),
            **self._profiles.of_users(users),
        }

    def _user_of_row(self, rows: np.ndarray) -> np.ndarray:
        return self._sequences.user_of_row[rows]

    def _sum_before(self, values: np.ndarray) -> np.ndarray:
        """Sum over the user's earlier interactions, for each row."""
        before = np.cumsum(values) - values
        return before - before[self._sequences.starts][self._sequences.user_of_row]


class CtrColumns:
    """Columns of examples with one candidate each.

    Args:
      user: columns of the users.
      sequences: all interactions of the users.
      history_rows: [examples] row whose history an example has.
      candidates: candidate of each example.
      universe: ids that sampled items name; None when there are none.
      extra_labels: names of further labels (`data.labels`), in order.
    """

    def __init__(
        self,
        user: UserColumns,
        sequences: UserSequences,
        history_rows: np.ndarray,
        candidates: Candidates,
        universe: pa.Array | None,
        extra_labels: Sequence[str] = (),
    ):
        self._user = user
        self._rows = history_rows
        item_ids, self._item_index = ids_of(candidates, sequences, universe)
        self._items = BytesValues(_encoded(item_ids))
        self._labels = real_or_zero(sequences.labels, candidates)
        self._ratings = real_or_zero(sequences.ratings, candidates)
        bits = real_or_zero(sequences.extra_labels, candidates).astype(np.int64)
        self._extra_labels = {
            contract.extra_label_feature(name).name: (bits >> number) & 1
            for number, name in enumerate(extra_labels)
        }

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._rows)

    def of(self, numbers: np.ndarray) -> dict[str, Column]:
        """Columns of some examples, by their numbers, in the given order."""
        rows = self._rows[numbers]
        return {
            **self._user.user(rows),
            contract.ITEM_ID: IndexedBytesColumn(self._items, self._item_index[numbers]),
            contract.LABEL: FloatColumn(self._labels[numbers]),
            contract.RATING: FloatColumn(self._ratings[numbers]),
            **{name: FloatColumn(values[numbers]) for name, values in self._extra_labels.items()},
            **self._user.before(rows),
        }


class RerankColumns:
    """Columns of examples with a list of candidates each.

    Args:
      user: columns of the users.
      sequences: all interactions of the users.
      lists: the lists.
      universe: ids that sampled items name.
    """

    def __init__(
        self,
        user: UserColumns,
        sequences: UserSequences,
        lists: CandidateLists,
        universe: pa.Array,
    ):
        self._user = user
        self._lists = lists
        item_ids, item_index = ids_of(lists.candidates, sequences, universe)
        self._items = BytesSequence(_encoded(item_ids), item_index)
        self._labels = FloatSequence(real_or_zero(sequences.labels, lists.candidates))
        self._ratings = FloatSequence(real_or_zero(sequences.ratings, lists.candidates))

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._lists.first_rows)

    def of(self, numbers: np.ndarray) -> dict[str, Column]:
        """Columns of some examples, by their numbers, in the given order."""
        rows = self._lists.first_rows[numbers]
        starts, ends = self._lists.starts[numbers], self._lists.ends[numbers]
        return {
            **self._user.user(rows),
            contract.ITEM_ID: RaggedBytesColumn(self._items, starts, ends),
            contract.LABEL: RaggedFloatColumn(self._labels, starts, ends),
            contract.RATING: RaggedFloatColumn(self._ratings, starts, ends),
            **self._user.before(rows),
        }


class RetrievalColumns:
    """Columns of examples with one liked item each.

    Args:
      user: columns of the users.
      sequences: all interactions of the users.
      rows: [examples] the interactions.
    """

    def __init__(self, user: UserColumns, sequences: UserSequences, rows: np.ndarray):
        self._user = user
        self._rows = rows
        self._items = BytesValues(_encoded(sequences.item_ids))
        self._item_index = sequences.item_of_row[rows]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._rows)

    def of(self, numbers: np.ndarray) -> dict[str, Column]:
        """Columns of some examples, by their numbers, in the given order."""
        rows = self._rows[numbers]
        return {
            **self._user.user(rows),
            contract.ITEM_ID: IndexedBytesColumn(self._items, self._item_index[numbers]),
            **self._user.before(rows),
        }


def real_or_zero(values: np.ndarray, candidates: Candidates) -> np.ndarray:
    """Values of the candidates' interactions; 0 for sampled ones.

    Args:
      values: [rows], one per interaction.
      candidates: interactions and sampled items.
    """
    taken = values[np.maximum(candidates.rows, 0)] if len(values) else np.zeros(0)
    return np.where(candidates.rows == SAMPLED, 0, taken)


def _encoded(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]
