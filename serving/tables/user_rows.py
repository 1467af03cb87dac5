"""The users that knowledge knows: raw id -> knowledge row of every user source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models.growing import growing_table
from serving.tables.id_index import IdIndex


class StoredUserRows(tf.Module):
    """Looks a user up once for all sources.

    Shapes: user ids, strings [m] -> source -> knowledge rows, int32 [m]; 0 where a source knows
      nothing of the user.
    """

    def __init__(self, user_ids: Sequence[str], rows: Mapping[str, np.ndarray]):
        """Stores the rows.

        Args:
          user_ids: raw ids, without repeats.
          rows: source -> int [users + 1], knowledge row of each user behind row 0's.
        """
        super().__init__(name="user_rows")
        self._index = IdIndex(user_ids, "users")
        self._rows = {
            source: growing_table(of_source, f"users/knowledge_row/{source}", tf.int32)
            for source, of_source in rows.items()
        }

    def __call__(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Knowledge rows of users."""
        users = self._index(user_ids)
        return {source: tf.gather(rows, users) for source, rows in self._rows.items()}
