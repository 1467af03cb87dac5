from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sparse

from configs.knowledge import Grouping
from preprocessing.grouping.entities import DescribedItems, KnownInteractions
from preprocessing.grouping.features import (
    HASHED_COLUMNS,
    attribute_weights,
    co_occurrence_weights,
    embed,
    hashed_columns,
    item_blocks,
    items_to_group,
    pairs_matrix,
    scale_columns,
    standardised_column,
    to_unit_length,
    user_vectors,
    users_to_group,
    weigh_columns,
    words_of,
)


def test_hashed_rows_have_columns_in_common():
    columns = hashed_columns(pa.array([["Drama", "War"], ["War", "War", ""], [], ["Drama"]]))
    assert columns.shape == (4, HASHED_COLUMNS)
    common = (columns @ columns.T).toarray()
    assert common.tolist() == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


def test_hashed_columns_do_not_depend_on_the_block():
    whole = hashed_columns(pa.array([["a"], ["b", "c"], ["a", "c"]]))
    parts = [hashed_columns(pa.array(rows)) for rows in ([["a"]], [["b", "c"], ["a", "c"]])]
    assert (whole.indices == np.concatenate([part.indices for part in parts])).all()


def test_words_of_any_script():
    titles = pa.array(["The Thing (1982)", "Амели", "七人の侍", " --- ", ""])
    words = [[word for word in row if word] for row in words_of(titles).to_pylist()]
    assert words == [["the", "thing", "1982"], ["амели"], ["七人の侍"], [], []]


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    numbers = np.array([1.0, np.nan, 3.0, 5.0, np.inf])
    scores = standardised_column(numbers).toarray().ravel()
    # mean 3, population deviation sqrt(8/3)
    assert scores.tolist() == pytest.approx([-1.2247449, 0, 0, 1.2247449, 0])
    far = standardised_column(np.array([0.0] * 99 + [1.0])).toarray()
    assert far.max() == 3
    for constant in ([7.0, 7.0], [np.nan, np.nan], []):
        assert not standardised_column(np.array(constant)).nnz


BLOCKS = [np.eye(4, dtype=np.float32), np.ones([4, 2], dtype=np.float32)]


def test_all_items_are_grouped_and_those_with_a_title_speak():
    entities = items_to_group(ITEMS, iter(BLOCKS))
    assert entities.ids.equals(ITEMS.ids) and entities.left_out == {"filtered_out": 0}
    assert entities.vectors.shape == (4, 6)
    assert entities.counted.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("kind", "users"), [("liked", ["u", "v"]), ("disliked", [])])
def test_users_without_a_title_to_show_are_left_out(kind, users):
    # v liked b and c; u liked a and disliked d, which has no title; w did nothing
    entities = users_to_group(kind, ITEMS, BLOCKS, KNOWN)
    assert entities.ids.to_pylist() == users
    assert entities.left_out == {f"without_{kind}_titles": 3 - len(users)}
    assert entities.counted.all() and entities.vectors.shape == (len(users), 6)


def test_each_kind_of_feature_is_averaged_apart():
    entities = users_to_group("liked", ITEMS, BLOCKS, KNOWN)
    judged = pairs_matrix(np.array([0, 1, 1]), np.array([0, 1, 2]), (2, 4))
    np.testing.assert_array_equal(entities.vectors[:, :4], user_vectors(judged, BLOCKS[0]))
    assert not entities.vectors[:, 4:].any()  # all users are alike there


def test_users_are_the_weighted_mean_of_their_items_less_the_mean_of_all():
    judged = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]], dtype=np.float32)
    items = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], dtype=np.float32)
    weight = np.log(6 / (1 + np.array([1, 3, 1, 1])))
    means = (judged * weight) @ items / (judged * weight).sum(axis=1, keepdims=True)
    described = [0, 1, 3]  # nothing is known of user 2's only item
    centred = means[described] - means[described].mean(axis=0)
    expected = np.zeros([4, 2])
    expected[described] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    actual = user_vectors(sparse.csr_matrix(judged), items)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_users_without_any_feature_stay_without():
    judged = sparse.csr_matrix(np.ones([2, 3], dtype=np.float32))
    assert not user_vectors(judged, np.zeros([3, 4], dtype=np.float32)).any()


def test_a_pair_counts_once_and_the_order_of_pairs_makes_no_difference():
    rows, columns = np.array([2, 0, 2, 2]), np.array([1, 0, 1, 0])
    matrix = pairs_matrix(rows, columns, (3, 2))
    assert matrix.toarray().tolist() == [[1, 0], [0, 0], [1, 1]]
    shuffled = pairs_matrix(rows[::-1], columns[::-1], (3, 2))
    for name in ("data", "indices", "indptr"):
        assert (getattr(matrix, name) == getattr(shuffled, name)).all()


def test_users_of_few_items_weigh_more():
    items, users = np.array([0, 1, 0, 1, 2, 3]), np.array([0, 0, 1, 1, 1, 2])
    weights = co_occurrence_weights(items, users, items=4, users=3).toarray()
    # user 0 has 2 of 4 items, user 1 three, user 2 a single one: nothing in common there
    first, second = np.log(5 / 3), np.log(5 / 4)
    expected = [[first, second, 0], [first, second, 0], [0, second, 0], [0, 0, 0]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_columns_weigh_by_inverse_document_frequency():
    present = sparse.csr_matrix(
        np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 1, 1, 0]], dtype=np.float32)
    )
    # one row has column 2, all have column 1
    expected = np.log(4 / 3) * np.array([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])
    weighted = weigh_columns(present)
    np.testing.assert_allclose(weighted.toarray(), expected, rtol=1e-6)
    assert weighted.nnz == 4 and present.nnz == 8 and weighted.dtype == np.float32


def test_scaling_leaves_the_original_alone():
    matrix = sparse.csr_matrix(np.array([[1, 2], [3, 0]], dtype=np.float32))
    scaled = scale_columns(matrix, np.array([2.0, 0.0]))
    assert scaled.toarray().tolist() == [[2, 0], [6, 0]] and scaled.nnz == 2
    assert matrix.toarray().tolist() == [[1, 2], [3, 0]]


def test_rows_are_projected_on_the_leading_right_singular_vectors():
    random = np.random.default_rng(0)
    matrix = random.normal(size=[60, 4]) @ random.normal(size=[4, 40])
    matrix += 1e-3 * random.normal(size=matrix.shape)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    directions = np.linalg.svd(unit, full_matrices=False)[2][:4]
    expected = unit @ directions.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embedded = embed(sparse.csr_matrix(matrix.astype(np.float32)), 4, seed=0)
    assert embedded.dtype == np.float32 and embedded.shape == (60, 4)
    np.testing.assert_allclose(embedded @ embedded.T, expected @ expected.T, atol=1e-3)


def test_few_columns_are_kept_as_they_are_and_empty_ones_dropped():
    matrix = sparse.csr_matrix(([3, 4, 5], ([0, 0, 2], [7, 900, 900])), (4, 1000), dtype=np.float32)
    assert embed(matrix, 2, seed=0).tolist() == [
        pytest.approx([0.6, 0.8]), [0, 0], [0, 1], [0, 0],
    ]  # fmt: skip
    assert embed(sparse.csr_matrix((3, 5), dtype=np.float32), 2, seed=0).shape == (3, 0)


def test_a_row_that_the_leading_vectors_miss_is_no_feature():
    # the last row is alone in its column and the width too small for it
    blocks = sparse.block_diag([np.ones([9, 3]), np.ones([8, 3]), [[1.0]]])
    embedded = embed(sparse.csr_matrix(blocks, dtype=np.float32), 2, seed=1)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), [1] * 17 + [0], atol=1e-6)


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_every_seed_is_allowed(seed):
    matrix = sparse.random(30, 20, 0.3, random_state=0, dtype=np.float32, format="csr")
    assert np.isfinite(embed(matrix, 3, seed)).all()


def test_unit_length_in_place():
    vectors = np.array([[3, 4], [1e-5, 0], [0, 0]], dtype=np.float32)
    assert to_unit_length(vectors) is vectors
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)


ITEMS = DescribedItems(
    ids=pa.array(["a", "b", "c", "d"]),
    titled=np.array([True, True, True, False]),
    outside_catalogue=1,
    titles=pa.array(["Star war", "Star peace", "Desert war", ""]),
    categories={"genres": pa.array([["War"], ["War", "Drama"], ["Drama"], None])},
    numbers={"year": np.array([1990.0, 2000.0, np.nan, np.nan])},
)
KNOWN = KnownInteractions(
    user_ids=pa.array(["u", "v", "w"]),
    item_ids=ITEMS.ids,
    user_of_row=np.array([0, 0, 1, 1], dtype=np.int32),
    item_of_row=np.array([0, 3, 1, 2], dtype=np.int32),
    liked=np.array([True, False, True, True]),
)


def cosines(block: np.ndarray) -> list[list[float]]:
    return np.round((block @ block.T).astype(float), 3).tolist()


def test_kinds_come_in_the_order_of_the_configuration():
    grouping = Grouping(features=("text", "co_occurrence"), dimension=8)
    text, together = item_blocks(ITEMS, KNOWN, grouping)
    # "star" and "war" are in two titles each, "peace" and "desert" make nothing alike
    half = round(0.5**0.5, 3)
    assert cosines(text) == [[1, half, half, 0], [half, 1, 0, 0], [half, 0, 1, 0], [0] * 4]
    assert cosines(together) == [[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]


def test_attributes_weigh_about_the_same():
    weights = attribute_weights(ITEMS).toarray()
    np.testing.assert_allclose(np.linalg.norm(weights[:, :-1], axis=1), [1, 1, 1, 0], rtol=1e-6)
    assert weights[:, -1].tolist() == [-1, 1, 0, 0]


def test_no_attributes_are_no_feature():
    bare = DescribedItems(ITEMS.ids, ITEMS.titled, 0, ITEMS.titles, {}, {})
    (block,) = item_blocks(bare, KNOWN, Grouping(features=("attributes",)))
    assert block.shape == (4, 0)


def test_rows_have_length_one_or_none():
    random = np.random.default_rng(0)
    known = KnownInteractions(
        user_ids=pa.array([f"{n}" for n in range(50)]),
        item_ids=pa.array([f"{n}" for n in range(80)]),
        user_of_row=random.integers(0, 50, 600).astype(np.int32),
        item_of_row=random.integers(0, 60, 600).astype(np.int32),
        liked=np.ones(600, dtype=bool),
    )
    items = DescribedItems(known.item_ids, np.ones(80, dtype=bool), 0, pa.array([""] * 80), {}, {})
    (block,) = item_blocks(items, known, Grouping(features=("co_occurrence",), dimension=10))
    assert block.shape == (80, 10) and block.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(block, axis=1), [1] * 60 + [0] * 20, atol=1e-5)
