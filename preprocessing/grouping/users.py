"""What a user likes or dislikes, as the mean of the items' vectors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from preprocessing.grouping.embedding import scale_columns, to_unit_length


def user_vectors(judged: sparse.csr_matrix, item_vectors: np.ndarray) -> np.ndarray:
    """Mean of the items of each user, less the mean of all users.

    An item weighs log((2 + users) / (1 + its users)), so rare ones weigh more. What all users have
    in common tells none of them apart: it is taken away before the vectors are scaled to length 1.

    Args:
      judged: [users, items] float32, 1 where the user liked (or disliked) the item.
      item_vectors: [items, width] float32 of one kind of feature.

    Returns:
      [users, width] float32 of length 1, or 0 for a user whose items have no such feature, or who
      is like the mean of all.
    """
    frequency = np.bincount(judged.indices, minlength=judged.shape[1])
    weights = scale_columns(judged, np.log((2 + judged.shape[0]) / (1 + frequency)))
    totals = np.asarray(weights.sum(axis=1), dtype=np.float32).reshape(-1, 1)
    vectors = np.asarray(weights @ item_vectors)
    vectors /= np.maximum(totals, np.finfo(np.float32).tiny)
    described = vectors.any(axis=1)
    if described.any():
        vectors[described] -= vectors[described].mean(axis=0, dtype=np.float64).astype(np.float32)
    return to_unit_length(vectors)
