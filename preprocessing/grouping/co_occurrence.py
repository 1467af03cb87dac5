"""What interactions say about items: which users they have in common."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from preprocessing.grouping.embedding import weigh_columns


def pairs_matrix(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """1 where a pair occurs, however often; the order of the pairs makes no difference.

    Args:
      rows: [pairs] row of each.
      columns: [pairs] column of each.
      shape: of the matrix.

    Returns:
      [rows, columns] float32.
    """
    ones = np.ones(len(rows), dtype=np.float32)
    matrix = sparse.csr_matrix(
        (ones, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def co_occurrence_weights(
    item_of_row: np.ndarray, user_of_row: np.ndarray, items: int, users: int
) -> sparse.csr_matrix:
    """Items by users, a user weighing the more the fewer items the user has.

    The cosine of two rows is large when the same users met both items, whatever they thought of
    them.

    Args:
      item_of_row: [interactions] number of the item.
      user_of_row: [interactions] number of the user.
      items: number of items.
      users: number of users.
    """
    return weigh_columns(pairs_matrix(item_of_row, user_of_row, (items, users)))
