"""Candidates laid out by the user they are compared with."""

from __future__ import annotations

import tensorflow as tf


def candidates_by_user(candidate_rows: tf.Tensor, history_rows: tf.Tensor) -> tf.Tensor:
    """Candidates as [users, candidates of each], so that each user's history is read once.

    Args:
      candidate_rows: int [n], with n histories or one, or [users, candidates].
      history_rows: int [users, length].

    Raises:
      ValueError: n candidates come with neither n histories nor one.
    """
    if candidate_rows.shape.rank == 2:
        return candidate_rows
    users, count = history_rows.shape[0], candidate_rows.shape[0]
    if users == 1:
        return candidate_rows[tf.newaxis]
    if users is not None and users == count:
        return candidate_rows[:, tf.newaxis]
    if users is not None and count is not None:
        raise ValueError(
            f"{count} candidates need as many histories, or one. Received: {users} histories"
        )
    users, count = tf.shape(history_rows)[0], tf.shape(candidate_rows)[0]
    # Any other number of histories has no such shape and fails when the graph runs.
    return tf.reshape(candidate_rows, [users, tf.where(users == count, 1, count)])
