from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from preprocessing.grouping.features import user_vectors


def test_users_are_the_weighted_mean_of_their_items_less_the_mean_of_all():
    judged = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]], dtype=np.float32)
    items = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], dtype=np.float32)
    weight = np.log(6 / (1 + np.array([1, 3, 1, 1])))
    means = (judged * weight) @ items / (judged * weight).sum(axis=1, keepdims=True)
    described = [0, 1, 3]  # nothing is known of user 2's only item
    centred = means[described] - means[described].mean(axis=0)
    expected = np.zeros([4, 2])
    expected[described] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    found = user_vectors(sparse.csr_matrix(judged), items)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_users_without_any_feature_stay_without():
    judged = sparse.csr_matrix(np.ones([2, 3], dtype=np.float32))
    assert not user_vectors(judged, np.zeros([3, 4], dtype=np.float32)).any()
