from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from models.catalogue import Catalogue, CategoricalColumn
from tests.models.builders import ITEM_IDS, NUM_FOLDS, catalogue_contents

MU = 35 / 12


def test_rows_follow_the_catalogue_and_unknown_ids_have_row_0() -> None:
    catalogue = Catalogue(catalogue_contents())
    ids = tf.constant([["60", "unseen", "10"], ["", "[UNK]", "20"]])
    rows = catalogue.rows(ids)
    np.testing.assert_array_equal(rows, [[6, 0, 1], [0, 0, 2]])
    assert rows.dtype == tf.int32
    assert catalogue.num_items == 6
    assert catalogue.item_ids == list(ITEM_IDS)


def test_only_trained_items_have_an_embedding_row() -> None:
    catalogue = Catalogue(catalogue_contents())
    # Training saw 30, 10, 50, 20 in this order; row 0 is the default.
    np.testing.assert_array_equal(catalogue.embedding_rows, [0, 2, 4, 1, 0, 3, 0])
    assert catalogue.num_trained_items == 4


def test_attribute_values_have_indices() -> None:
    catalogue = Catalogue(catalogue_contents())
    # 0 padding, 1 unknown, 2 Action, 3 Comedy, 4 Drama.
    np.testing.assert_array_equal(
        catalogue.categorical["genres"],
        [[1, 0, 0], [2, 0, 0], [2, 3, 4], [3, 0, 0], [1, 0, 0], [4, 1, 0], [4, 0, 0]],
    )
    assert catalogue.num_values == {"genres": 5}


def test_an_attribute_that_no_item_has_is_unknown_everywhere() -> None:
    contents = catalogue_contents()
    column = CategoricalColumn(vocabulary=(), values=[[] for _ in ITEM_IDS])
    catalogue = Catalogue(replace(contents, categorical={"mood": column}))
    np.testing.assert_array_equal(catalogue.categorical["mood"], np.ones([7, 1]))


def test_numbers_are_standardised_over_known_values() -> None:
    catalogue = Catalogue(catalogue_contents())
    # 1990, 2000, missing, 1980, 2010, 1995: mean 1995, variance 500 / 5.
    expected = np.array([[0, 1], [-0.5, 0], [0.5, 0], [0, 1], [-1.5, 0], [1.5, 0], [0, 0]])
    np.testing.assert_allclose(catalogue.numeric, expected, atol=1e-6)
    assert catalogue.num_numeric == 2


def test_constant_missing_and_absent_numbers_stay_finite() -> None:
    contents = catalogue_contents()
    catalogue = Catalogue(
        replace(contents, numeric={"same": np.full(6, 3.0), "none": np.full(6, np.nan)})
    )
    np.testing.assert_array_equal(catalogue.numeric[1:], [[0, 0, 0, 1]] * 6)
    np.testing.assert_array_equal(catalogue.numeric[0], [0, 1, 0, 1])
    assert Catalogue(replace(contents, numeric={})).numeric.shape == (7, 0)


def test_means_are_shrunk_towards_the_mean_of_all_ratings() -> None:
    catalogue = Catalogue(catalogue_contents())
    np.testing.assert_allclose(catalogue.global_mean, MU)
    np.testing.assert_allclose(
        -catalogue.residuals(tf.constant([[1, 2], [3, 4], [5, 0]]), tf.zeros([3, 2])),
        [
            [(13 + 5 * MU) / 8, (7 + 5 * MU) / 7],
            [(12 + 5 * MU) / 9, MU],
            [(3 + 5 * MU) / 8, MU],
        ],
        rtol=1e-6,
    )


def test_statistics_leave_the_fold_of_the_user_out() -> None:
    catalogue = Catalogue(catalogue_contents())
    rows = tf.constant([1, 1, 1, 3, 3, 0, 4])
    folds = tf.constant([0, 1, 2, 1, 0, 2, 1])
    expected = [
        [(5 + 5 * MU) / 6 - MU, np.log(1 + 1)],
        [(13 + 5 * MU) / 8 - MU, np.log(1 + 3)],
        [(8 + 5 * MU) / 7 - MU, np.log(1 + 2)],
        [(2 + 5 * MU) / 6 - MU, np.log(1 + 1)],
        [(12 + 5 * MU) / 9 - MU, np.log(1 + 4)],
        [0, 0],
        [0, 0],
    ]
    np.testing.assert_allclose(catalogue.statistics(rows, folds), expected, atol=1e-6)


def test_statistics_without_folds_use_all_ratings() -> None:
    catalogue = Catalogue(catalogue_contents())
    np.testing.assert_allclose(
        catalogue.statistics(tf.constant([2, 6])),
        [[(7 + 5 * MU) / 7 - MU, np.log(1 + 2)], [0, 0]],
        atol=1e-6,
    )
    everything = tf.fill([7], catalogue.num_folds)
    np.testing.assert_array_equal(
        catalogue.statistics(tf.range(7)), catalogue.statistics(tf.range(7), everything)
    )


def test_an_export_forgets_folds_and_nothing_else() -> None:
    catalogue = Catalogue(catalogue_contents())
    rows = tf.range(7)
    ids = tf.constant(["", *catalogue.item_ids])
    known = catalogue.rows(ids).numpy()
    history, ratings = rows[tf.newaxis], tf.ones([1, 7])
    statistics, residuals = catalogue.statistics(rows), catalogue.residuals(history, ratings)
    catalogue.store(lambda given: tf.cast(given != "", tf.int64))
    np.testing.assert_array_equal(catalogue.rows(ids), known > 0)
    np.testing.assert_array_equal(catalogue.statistics(rows), statistics)
    np.testing.assert_array_equal(catalogue.residuals(history, ratings), residuals)
    shapes = [tuple(variable.numpy().shape) for variable in catalogue.variables]
    assert shapes.count((7, 1)) == 2 and (7, NUM_FOLDS + 1) not in shapes


def test_no_ratings_at_all() -> None:
    nothing = np.zeros([6, 3])
    contents = replace(
        catalogue_contents(), rating_sum_by_fold=nothing, rating_count_by_fold=nothing
    )
    np.testing.assert_array_equal(Catalogue(contents).statistics(tf.range(7)), np.zeros([7, 2]))


def test_no_table_is_trained() -> None:
    assert Catalogue(catalogue_contents()).trainable_variables == ()


def test_new_items_are_added_without_ratings_or_attributes() -> None:
    contents = catalogue_contents()
    extended = contents.with_items(["20", "new", "60", "newer", "new"])
    assert list(extended.item_ids) == [*ITEM_IDS, "new", "newer"]
    before, after = Catalogue(contents), Catalogue(extended)
    np.testing.assert_array_equal(after.rows(tf.constant(["newer", "new", "60"])), [8, 7, 6])
    for table in ("embedding_rows", "numeric"):
        np.testing.assert_array_equal(getattr(after, table)[:7], getattr(before, table))
    np.testing.assert_array_equal(after.embedding_rows[7:], [0, 0])
    np.testing.assert_array_equal(after.numeric[7:], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(after.categorical["genres"][:7], before.categorical["genres"])
    np.testing.assert_array_equal(after.categorical["genres"][7:], [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(after.statistics(tf.range(9))[:7], before.statistics(tf.range(7)))
    np.testing.assert_array_equal(after.statistics(tf.constant([7, 8])), np.zeros([2, 2]))


def test_known_items_change_nothing() -> None:
    contents = catalogue_contents()
    assert contents.with_items(["10", "60"]) is contents


def test_a_history_that_meets_its_candidate_again_leaves_the_users_fold_out() -> None:
    catalogue = Catalogue(catalogue_contents())
    rows = catalogue.rows(tf.constant([["10", "30"], ["10", "30"]]))
    ratings = tf.constant([[4.0, 2.0], [4.0, 2.0]])
    candidates = catalogue.rows(tf.constant(["10", "20"]))
    without_fold_0 = 4 - (5 + 5 * MU) / (1 + 5)
    # Item 10 has 3 ratings of sum 13, item 30 has 4 of sum 12.
    without_4, without_2 = 4 - (13 - 4 + 5 * MU) / (2 + 5), 2 - (12 - 2 + 5 * MU) / (3 + 5)
    np.testing.assert_allclose(
        catalogue.residuals(rows, ratings, candidates, tf.constant([0, 0])),
        [[without_fold_0, without_2], [without_4, without_2]],
        rtol=1e-5,
    )
    as_they_are = [4 - (13 + 5 * MU) / (3 + 5), 2 - (12 + 5 * MU) / (4 + 5)]
    np.testing.assert_allclose(
        catalogue.residuals(rows, ratings, candidates), [as_they_are] * 2, rtol=1e-5
    )


def test_a_training_residual_is_that_of_a_catalogue_without_the_users_rating() -> None:
    contents = catalogue_contents()
    rating, fold = 4.5, 1
    counted = replace(
        contents,
        rating_sum_by_fold=contents.rating_sum_by_fold.copy(),
        rating_count_by_fold=contents.rating_count_by_fold.copy(),
    )
    # One rating each of an item with others, of one without any, and of the most rated one.
    for item in (0, 3, 2):
        counted.rating_sum_by_fold[item, fold] += rating
        counted.rating_count_by_fold[item, fold] += 1
    catalogue = Catalogue(counted)
    rows, candidate = tf.constant([[1, 4, 3, 0]]), tf.constant([2])
    actual = catalogue.residuals(rows, tf.fill([1, 4], rating), candidate, tf.constant([fold]))
    # Means of the others, shrunk towards the mean of all ratings, to which this user's belong too.
    mu = catalogue.global_mean
    others = [(13 + 5 * mu) / (3 + 5), mu, (12 + 5 * mu) / (4 + 5), mu]
    np.testing.assert_allclose(actual, rating - np.array([others]), rtol=1e-5)


def test_padding_has_the_same_residual_in_training() -> None:
    catalogue = Catalogue(catalogue_contents())
    rows, ratings = tf.zeros([1, 2], tf.int32), tf.zeros([1, 2])
    in_training = catalogue.residuals(rows, ratings, tf.constant([1]), tf.constant([0]))
    np.testing.assert_array_equal(in_training, catalogue.residuals(rows, ratings))
