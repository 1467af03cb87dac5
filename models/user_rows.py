"""Raw user id -> knowledge row of every user source."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.knowledge import EntityIndex


class UserRows(tf.Module):
    """Knowledge rows of users; 0 where a source knows nothing of the user.

    Shapes: user ids, strings [m] -> source -> int32 [m], without sources an empty mapping.
    """

    def __init__(self, indexes: Mapping[str, EntityIndex]):
        """Keeps the index of every source."""
        super().__init__(name="user_rows")
        self._indexes = dict(indexes)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return tuple(self._indexes)

    def __call__(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Looks users up."""
        return {source: index(user_ids) for source, index in self._indexes.items()}

    def known_users(self) -> tuple[list[str], dict[str, np.ndarray]]:
        """All users that a source knows.

        Returns:
          Their raw ids in order, and source -> int32 [users + 1], knowledge row of each user behind
          a 0 for those nobody knows.
        """
        users = sorted({user for index in self._indexes.values() for user in index.entity_ids})
        position = {user: row for row, user in enumerate(users, start=1)}
        rows = {}
        for source, index in self._indexes.items():
            of_source = np.zeros(len(users) + 1, np.int32)
            places = [position[user] for user in index.entity_ids]
            of_source[places] = index.rows_of_entities()
            rows[source] = of_source
        return users, rows
