from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from preprocessing.grouping import tree as module
from preprocessing.grouping.tree import (
    LEFT_OUT,
    bisect,
    group_names,
    halves,
    nearest_first,
    two_means,
)


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


def test_rows_far_from_any_that_can_speak_are_left_out():
    vectors = np.concatenate([np.zeros([3, 1]), np.arange(1, 31)[:, None]])
    counted = np.arange(33) < 1
    result = grouped(vectors, maximum=5, counted=counted)
    assert result.groups == 1
    # the mean is 14.1: the counted row and the four nearest to the mean
    assert np.flatnonzero(result.group_of_row != LEFT_OUT).tolist() == [0, 15, 16, 17, 18]


@st.composite
def rows_to_group(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int, int]:
    """Vectors of which many are equal, who counts, the most and fewest rows, and a seed."""
    rows, width = draw(st.integers(0, 40)), draw(st.integers(1, 3))
    values = st.integers(-2, 2) | st.sampled_from([1e-30, 1e6])
    flat = draw(st.lists(values, min_size=rows * width, max_size=rows * width))
    counted = draw(st.lists(st.booleans(), min_size=rows, max_size=rows) | st.just([True] * rows))
    maximum = draw(st.integers(1, 12))
    minimum = draw(st.integers(1, (maximum + 1) // 2))
    vectors = np.array(flat, np.float64).reshape(rows, width)
    return vectors, np.array(counted, bool), maximum, minimum, draw(st.integers(0, 2**65))


@given(rows_to_group())
@example((np.eye(4), np.ones(4, bool), 9, 5, 0))  # too few for a group
def test_groups_part_the_rows_and_keep_their_sizes(drawn) -> None:
    vectors, counted, maximum, minimum, seed = drawn
    result = grouped(vectors, maximum, minimum, counted, seed)
    group = result.group_of_row
    if counted.sum() < minimum:
        assert result.groups == 0 and (group == LEFT_OUT).all()
        return
    sizes = np.bincount(group[group != LEFT_OUT], minlength=result.groups)
    speaking = np.bincount(group[counted], minlength=result.groups)
    assert len(sizes) == result.groups and sizes.max() <= maximum and speaking.min() >= minimum
    # Whoever can speak is in a group; the others are left out only of full ones.
    assert (group[counted] != LEFT_OUT).all()
    assert (group != LEFT_OUT).all() or sizes.max() == maximum
    again = grouped(vectors, maximum, minimum, counted, seed)
    assert again.group_of_row.tolist() == group.tolist()


def test_a_minimum_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match="minimum=5, maximum=8"):
        grouped(np.eye(20), maximum=8, minimum=5)


def test_names_hold_the_place_and_a_digest_of_the_members():
    numbers = np.array([10, 11, 12, 255], dtype=np.uint64)
    names = group_names(
        pa.array(["a", "b", "c", "d"]), numbers, np.array([1, 0, -1, 1]), 2, "liked"
    )
    content = b"liked\n000000000000000a a\n00000000000000ff d"
    digest = hashlib.blake2b(content, digest_size=8, key=b"group").digest()[::-1].hex()[:6]
    assert names[1] == f"g0002-{digest}" and names[0].startswith("g0001-")


def test_other_members_interactions_or_kinds_make_another_name():
    entities, numbers = pa.array(["a", "b", "c"]), np.arange(3, dtype=np.uint64)
    before = group_names(entities, numbers, np.array([0, 0, 1]), 2, "liked")
    after = group_names(entities, numbers, np.array([0, 1, 1]), 2, "liked")
    assert not set(before) & set(after)
    assert group_names(entities, numbers, np.array([0, 0, -1]), 1, "liked") == before[:1]
    assert not set(group_names(entities, numbers, np.array([0, 0, 1]), 2, "disliked")) & set(before)
    others = np.array([0, 7, 2], dtype=np.uint64)
    changed = group_names(entities, others, np.array([0, 0, 1]), 2, "liked")
    assert changed[0] != before[0] and changed[1] == before[1]


def test_numbers_have_as_many_digits_as_they_need():
    entities, numbers = pa.array([f"{n}" for n in range(10_000)]), np.zeros(10_000, np.uint64)
    names = group_names(entities, numbers, np.arange(10_000), 10_000, "item")
    assert names[0].startswith("g00001-") and names[-1].startswith("g10000-")
    assert sorted(names) == names
