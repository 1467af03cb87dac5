from __future__ import annotations

import numpy as np
import pytest

from preprocessing.grouping.tree import LEFT_OUT, bisect


def grouped(vectors, maximum, minimum=1, counted=None, seed=0):
    counted = np.ones(len(vectors), dtype=bool) if counted is None else counted
    return bisect(vectors.astype(np.float32).copy(), counted, maximum, minimum, seed)


def skewed(rows: int, seed: int = 0) -> np.ndarray:
    """One dense cloud, many outliers, many equal rows: what 2-means alone cuts badly."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=[rows, 8]) * 0.05
    vectors[: rows // 10] += random.standard_cauchy(size=[rows // 10, 8])
    vectors[-rows // 5 :] = 0.25
    return vectors


def test_clouds_become_groups():
    random = np.random.default_rng(0)
    cloud = np.repeat(np.arange(6), 20)
    vectors = 10 * np.eye(6)[cloud] + random.normal(size=[120, 6]) * 0.1
    result = grouped(vectors, maximum=20)
    assert result.groups == 6
    assert len(set(zip(cloud, result.group_of_row, strict=True))) == 6


@pytest.mark.parametrize(("maximum", "minimum"), [(2, 1), (9, 5), (10, 5), (80, 5), (5000, 5)])
def test_sizes_are_kept_whatever_the_rows_are_like(maximum, minimum):
    result = grouped(skewed(3000), maximum, minimum)
    sizes = np.bincount(result.group_of_row)
    assert len(sizes) == result.groups and sizes.sum() == 3000
    assert sizes.min() >= minimum and sizes.max() <= maximum
    # at least a tenth on each side of every cut, halves where that fails
    assert result.depth <= np.log(3000) / np.log(1 / 0.9)


def test_neighbours_in_the_order_of_the_tree_are_alike():
    line = np.linspace(0, 1, 64)[:, None]
    result = grouped(line, maximum=4)
    means = np.array([line[result.group_of_row == group].mean() for group in range(result.groups)])
    steps = np.abs(np.diff(means))
    assert steps.mean() < np.abs(means[:, None] - means).mean() / 2


def test_equal_input_gives_equal_groups_and_the_seed_counts():
    vectors = np.random.default_rng(5).normal(size=[500, 4])
    first, again, other = (grouped(vectors, 20, seed=seed) for seed in (1, 1, 2))
    assert (first.group_of_row == again.group_of_row).all()
    assert (first.group_of_row != other.group_of_row).any()


def test_equal_rows_are_cut_in_their_order():
    result = grouped(np.zeros([10, 3]), maximum=4)
    assert result.group_of_row.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_every_group_has_rows_that_can_speak_for_it():
    vectors = np.random.default_rng(6).normal(size=[400, 4])
    counted = np.arange(400) % 8 == 0
    result = grouped(vectors, maximum=20, minimum=2, counted=counted)
    speaking = np.bincount(result.group_of_row[counted], minlength=result.groups)
    sizes = np.bincount(result.group_of_row[result.group_of_row >= 0])
    assert speaking.min() >= 2 and sizes.max() <= 20
    assert (result.group_of_row[counted] != LEFT_OUT).all()


def test_rows_far_from_any_that_can_speak_are_left_out():
    vectors = np.concatenate([np.zeros([3, 1]), np.arange(1, 31)[:, None]])
    counted = np.arange(33) < 1
    result = grouped(vectors, maximum=5, counted=counted)
    assert result.groups == 1
    # the mean is 14.1: the counted row and the four nearest to the mean
    assert np.flatnonzero(result.group_of_row != LEFT_OUT).tolist() == [0, 15, 16, 17, 18]


def test_too_few_rows_make_no_group():
    result = grouped(np.eye(4), maximum=9, minimum=5)
    assert result.groups == 0 and (result.group_of_row == LEFT_OUT).all()
    assert grouped(np.zeros([0, 3]), maximum=9).groups == 0


def test_a_minimum_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match="minimum=5, maximum=8"):
        grouped(np.eye(20), maximum=8, minimum=5)
