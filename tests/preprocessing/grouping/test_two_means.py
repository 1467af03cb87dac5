from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from preprocessing.grouping import tree as module
from preprocessing.grouping.tree import halves, nearest_first, two_means


def clouds(sizes: tuple[int, ...], width: int = 5, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = 10 * np.eye(width)
    rows = [
        centres[number] + random.normal(size=[size, width]) for number, size in enumerate(sizes)
    ]
    return np.concatenate(rows).astype(np.float32)


def everyone(vectors: np.ndarray) -> np.ndarray:
    return np.ones(len(vectors), dtype=bool)


@pytest.mark.parametrize("seed", range(5))
def test_two_clouds_are_told_apart(seed):
    side = two_means(clouds((30, 70)), np.random.default_rng(seed))
    assert len(set(side[:30])) == len(set(side[30:])) == 1 and side[0] != side[-1]


def test_the_cut_is_a_fixed_point_as_another_library_finds_it():
    vectors = np.random.default_rng(1).normal(size=[400, 3]).astype(np.float32)
    vectors[:, 0] *= 3
    side = two_means(vectors, np.random.default_rng(0))
    theirs = KMeans(2, n_init=5, random_state=0).fit_predict(vectors).astype(bool)
    assert max((side == theirs).mean(), (side != theirs).mean()) > 0.97


def test_equal_rows_cannot_be_told_apart():
    assert two_means(np.ones([7, 4], dtype=np.float32), np.random.default_rng(0)) is None
    assert two_means(np.zeros([7, 4], dtype=np.float32), np.random.default_rng(0)) is None


def test_halves_cut_along_the_direction_of_largest_variance():
    random = np.random.default_rng(2)
    vectors = random.normal(size=[101, 4]).astype(np.float32)
    direction = np.array([1.0, 2.0, 0.0, -1.0])
    vectors += (5 * random.normal(size=101)[:, None] * direction).astype(np.float32)
    side = halves(vectors, everyone(vectors))
    assert side.sum() == 51
    principal = np.linalg.svd(vectors - vectors.mean(axis=0))[2][0]
    coordinates = vectors @ principal
    upper = coordinates > np.median(coordinates)
    assert max((side == upper).mean(), (side != upper).mean()) > 0.97


def test_equal_rows_are_halved_in_their_order():
    vectors = np.ones([5, 3], dtype=np.float32)
    assert halves(vectors, everyone(vectors)).tolist() == [False, False, True, True, True]


def test_each_side_gets_half_of_the_counted_rows():
    vectors = np.arange(10, dtype=np.float32)[:, None]
    counted = np.isin(np.arange(10), [0, 1, 2, 3])
    side = halves(vectors, counted)
    assert sorted([counted[side].sum(), counted[~side].sum()]) == [2, 2]


def test_nearest_first_orders_by_distance_from_the_mean():
    vectors = np.array([[10.0], [0.0], [4.0], [6.0]], dtype=np.float32)  # mean 5
    assert nearest_first(vectors).tolist() == [2, 3, 0, 1]


def test_the_size_of_chunks_makes_no_difference_to_exact_numbers(monkeypatch):
    # small whole numbers: float32 and float64 sums are exact in any order
    vectors = np.random.default_rng(3).integers(-8, 9, [500, 6]).astype(np.float32)
    whole = two_means(vectors, np.random.default_rng(4))
    monkeypatch.setattr(module, "_ROWS_PER_CHUNK", 64)
    assert (two_means(vectors, np.random.default_rng(4)) == whole).mean() > 0.99
