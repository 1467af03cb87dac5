from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from preprocessing.knowledge.control_vectors import random_vectors

_MASK = (1 << 64) - 1


def split_mix(state: int) -> int:
    """Next output of SplitMix64, in Python's own integers."""
    z = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def test_numbers_are_those_of_an_independent_computation():
    digest = hashlib.blake2b(b"film", digest_size=8, key=b"random 7").digest()
    state = int.from_bytes(digest, "little")
    expected = []
    for _ in range(5):
        uniform = (split_mix(state) >> 11) / 2**53 + 2.0**-54
        expected.append(NormalDist().inv_cdf(uniform))
        state = (state + 0x9E3779B97F4A7C15) & _MASK
    found = random_vectors(["film"], 5, 7)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found[0], expected, atol=2e-3)


def test_numbers_are_standard_normal_and_of_one_another_independent():
    vectors = random_vectors([str(number) for number in range(400)], 100, 0).astype(np.float64)
    assert stats.kstest(vectors.ravel(), "norm").pvalue > 0.01
    of_entities = np.corrcoef(vectors)[np.triu_indices(400, 1)]
    assert abs(of_entities.mean()) < 0.005 and of_entities.std() == pytest.approx(0.1, abs=0.005)
    of_places = np.corrcoef(vectors.T)[np.triu_indices(100, 1)]
    assert abs(of_places.mean()) < 0.005


def test_a_vector_depends_on_seed_and_id_alone():
    alone = random_vectors(["b"], 8, 1)
    np.testing.assert_array_equal(random_vectors(["a", "b", "c"], 8, 1)[1:2], alone)
    np.testing.assert_array_equal(random_vectors(["b"], 4, 1), alone[:, :4])
    assert not np.array_equal(random_vectors(["b"], 8, 2), alone)
    assert random_vectors([], 8, 1).shape == (0, 8)
