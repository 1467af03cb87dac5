"""Item vectors made from training interactions: the baseline that knowledge has to beat.

Latent semantic analysis of the log (Deerwester et al., "Indexing by latent semantic analysis",
JASIS 1990) with users as documents and items as terms. Two matrices [users, items] stand one upon
the other, what users used and how they rated it, the second with half the weight of the first:

    C_ui = log(1 + U / U_i) / sqrt(I_u)    U users, U_i of them of item i, I_u items of user u
    R_ui = r_ui - m_i - m_u                m_i mean rating of the item, shrunk as for knowledge
                                           match to (sum + 5 mu) / (n + 5); m_u mean of what is
                                           left of the user's ratings, shrunk to sum / (n + 5)
    M = sqrt(I) [C / |C|; 1/2 R / |R|]     Frobenius norms; I items with interactions

C and R are 0 where the user did not use the item. With M = U S V' cut to the first components, the
vector of item i is row i of V S: the cosine of two vectors is that of two columns of M, as far as
the kept components hold them. docs/encoders.md compares choices.

Vectors are cross-fitted by user: a set without the users of a fold serves the samples of that fold.
A user's own interactions would otherwise be in the vectors that explain them, in training only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from configs.knowledge import CollaborativeVectors
from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.training_log import TrainingLog
from preprocessing.knowledge.vectors import round_vectors
from preprocessing.records.contract import USER_FOLDS

_POWER_ITERATIONS = 7
_SHRINKAGE = 5.0
_WEIGHT_OF_RATINGS = 0.5


def collaborative_vectors(
    log: TrainingLog, settings: CollaborativeVectors
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vectors from all users, then without each fold's users, in the order of the folds.

    The matrix is in the memory of this process, which needs about 150 bytes for a training
    interaction while it is made; beside it lies one set of vectors.

    Args:
      log: training interactions.
      settings: width and seed.

    Yields:
      [items, dimension] float16, and [items] True for the items that have a vector; the others,
      those without a training interaction, are zeros.
    """
    fold_of_row = user_folds(log.users)[log.user_of_row]
    for fold in (None, *range(USER_FOLDS)):
        rows = np.ones(len(fold_of_row), bool) if fold is None else fold_of_row != fold
        matrix = stacked_matrix(
            log.user_of_row[rows], log.item_of_row[rows], log.ratings[rows], len(log.items)
        )
        yield round_vectors(item_vectors(matrix, settings))


def stacked_matrix(
    user_of_row: np.ndarray, item_of_row: np.ndarray, ratings: np.ndarray, items: int
) -> scipy.sparse.csr_matrix:
    """The matrix M of the module's formula; without its lower half when all ratings are alike.

    Args:
      user_of_row: [rows] numbers of users; only which of them are equal matters.
      item_of_row: [rows] numbers of items below `items`.
      ratings: [rows]; interactions of one user with one item count as one, with their mean.
      items: number of items.
    """
    cells, cell_of_row = np.unique(
        user_of_row.astype(np.int64) * items + item_of_row, return_inverse=True
    )
    users, user = np.unique(cells // items, return_inverse=True)
    item = cells % items
    rating = np.bincount(cell_of_row, ratings) / np.bincount(cell_of_row)
    users_of_item = np.bincount(item, minlength=items)
    items_of_user = np.bincount(user)
    used = np.log1p(len(users) / users_of_item[item]) / np.sqrt(items_of_user[user])
    halves = [(used, 1.0)]
    if len(rating) and np.ptp(rating) > 0:
        mean = rating.mean()
        of_item = np.bincount(item, rating - mean, items) / (users_of_item + _SHRINKAGE)
        rest = rating - mean - of_item[item]
        of_user = np.bincount(user, rest) / (items_of_user + _SHRINKAGE)
        halves.append((rest - of_user[user], _WEIGHT_OF_RATINGS))
    scale = np.sqrt(np.count_nonzero(users_of_item))
    return scipy.sparse.vstack(
        [
            scipy.sparse.csr_matrix(
                (weight * scale * values / np.linalg.norm(values), (user, item)),
                shape=(len(users), items),
            )
            for values, weight in halves
        ],
        format="csr",
    )


def item_vectors(matrix: scipy.sparse.csr_matrix, settings: CollaborativeVectors) -> np.ndarray:
    """Rows of V S of the truncated SVD, [items, dimension]; filled up with zeros.

    Signs are fixed and the seed is given, so that equal matrices give equal vectors.

    Args:
      matrix: any number of rows, a column for each item.
      settings: width and seed.
    """
    vectors = np.zeros((matrix.shape[1], settings.dimension))
    components = min(settings.dimension, *matrix.shape)
    if components:
        # One thread: the number of cores decides no bit, and sparse products do not use more.
        with threadpool_limits(1):
            _, singular, right = randomized_svd(
                matrix, components, n_iter=_POWER_ITERATIONS, random_state=settings.seed
            )
        vectors[:, :components] = right.T * singular
        vectors[np.bincount(matrix.indices, minlength=len(vectors)) == 0] = 0
    return vectors
