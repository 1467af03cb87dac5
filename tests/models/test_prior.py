from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.kernel_ridge import KernelRidge

from configs.model import Prior
from models.catalogue import CatalogueContents
from models.layer_support import precision
from models.prior import KnowledgePrior, item_parts

ITEMS, FOLDS, PARTS = 30, 3, 4
# As many landmarks as items with knowledge: the kernel regression is exact.
OPTIONS = Prior(dimension=ITEMS, folds=PARTS)
MISSING, UNRATED = 5, 8


def contents() -> CatalogueContents:
    """Ratings of 30 items; one was never rated, another one by the users of fold 0 only."""
    random = np.random.default_rng(0)
    counts = random.integers(0, 9, size=[ITEMS, FOLDS]).astype(np.float64)
    counts[UNRATED] = 0
    counts[UNRATED + 1] = [4, 0, 0]
    means = random.uniform(2, 5, size=[ITEMS, 1]) + random.normal(size=[ITEMS, FOLDS]) / 5
    names = [f"item {number}" for number in range(ITEMS)]
    return CatalogueContents(names, names, {}, {}, counts * means, counts)


def vectors() -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=[ITEMS, 6]) + 1
    vectors[MISSING] = 0
    return vectors.astype(np.float32)


def prior(
    of: CatalogueContents | None = None, knowledge: np.ndarray | None = None
) -> KnowledgePrior:
    return KnowledgePrior.from_ratings(
        contents() if of is None else of, vectors() if knowledge is None else knowledge, OPTIONS
    )


def table(of: KnowledgePrior) -> np.ndarray:
    """[items + 1, folds + 1]."""
    rows = np.arange(ITEMS + 1)
    return np.stack([*(of(rows, fold) for fold in range(FOLDS)), of(rows)], axis=1)


def kernel() -> np.ndarray:
    known = np.delete(np.arange(ITEMS), MISSING)
    centred = vectors().astype(np.float64) - vectors()[known].mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return 0.3 + np.exp((unit @ unit.T - 1) / 0.5)


def solve(kernel: np.ndarray, to_predict: np.ndarray, y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Kernel regression with the noise 1 + 10 / n of an item's mean."""
    return to_predict @ np.linalg.solve(kernel + np.diag(1 + 10 / n), y)


def solve_with_sklearn(
    kernel: np.ndarray, to_predict: np.ndarray, y: np.ndarray, n: np.ndarray
) -> np.ndarray:
    model = KernelRidge(alpha=1.0, kernel="precomputed")
    model.fit(kernel, y, sample_weight=1 / (1 + 10 / n))
    return model.predict(to_predict)


Solver = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def plain_prior(item: int, fold: int | None, solver: Solver) -> float:
    ratings = contents()
    kept = [column for column in range(FOLDS) if column != fold]
    sums = ratings.rating_sum_by_fold[:, kept].sum(axis=1)
    counts = ratings.rating_count_by_fold[:, kept].sum(axis=1)
    parts = np.array([zlib.crc32(name.encode()) % PARTS for name in ratings.item_ids])
    used = counts > 0
    used[MISSING] = False
    if ratings.rating_count_by_fold[item].any():
        used &= parts != parts[item]
    targets = sums[used] / counts[used] - sums[used].sum() / counts[used].sum()
    among = kernel()
    return float(
        solver(among[np.ix_(used, used)], among[[item]][:, used], targets, counts[used])[0]
    )


@pytest.mark.parametrize("solver", [solve, solve_with_sklearn])
def test_priors_are_kernel_regressions_over_the_other_items(solver: Solver) -> None:
    actual = table(prior())
    for item in range(ITEMS):
        if item != MISSING:
            expected = [plain_prior(item, fold, solver) for fold in (*range(FOLDS), None)]
            np.testing.assert_allclose(actual[item + 1], expected, atol=2e-4)
    np.testing.assert_array_equal(actual[[0, MISSING + 1]], 0)
    assert np.abs(actual).max() > 0.1


def changed(item: int, fold: int) -> CatalogueContents:
    """The ratings with others of one item by the users of one fold."""
    original = contents()
    sums, counts = original.rating_sum_by_fold.copy(), original.rating_count_by_fold.copy()
    sums[item, fold] += 40
    counts[item, fold] += 9
    return replace(original, rating_sum_by_fold=sums, rating_count_by_fold=counts)


@pytest.mark.parametrize("item", [0, 11, UNRATED + 1])
@pytest.mark.parametrize("fold", range(FOLDS))
def test_no_rating_reaches_its_own_item_or_its_own_fold(item: int, fold: int) -> None:
    before, after = table(prior()), table(prior(changed(item, fold)))
    np.testing.assert_array_equal(after[:, fold], before[:, fold])
    np.testing.assert_array_equal(after[item + 1], before[item + 1])
    parts = item_parts(contents().item_ids, PARTS)
    others = np.flatnonzero((parts != parts[item]) & (np.arange(ITEMS) != MISSING)) + 1
    assert np.all(after[others, -1] != before[others, -1])


def test_new_items_are_predicted_as_items_never_rated() -> None:
    fitted = prior()
    predicted = fitted.prediction.predict(vectors()[[UNRATED, MISSING]])
    assert predicted.dtype == np.float32
    assert predicted[0] == pytest.approx(float(fitted(UNRATED + 1)), abs=1e-6)
    assert predicted[0] != 0
    assert predicted[1] == 0


def test_further_items_change_no_part() -> None:
    names = contents().item_ids
    parts = item_parts(names, PARTS)
    np.testing.assert_array_equal(item_parts([*names, "another"], PARTS)[:-1], parts)
    assert set(parts) == set(range(PARTS))


def test_rows_of_any_shape_are_looked_up() -> None:
    fitted, expected = prior(), table(prior())
    rows, folds = np.array([[1, 2, 0], [9, 4, 30]]), np.array([[1], [FOLDS]])
    np.testing.assert_array_equal(fitted(rows), expected[rows, -1])
    np.testing.assert_array_equal(fitted(rows, folds), expected[rows, folds])
    in_graph = tf.function(
        fitted, input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2, autograph=False
    )
    np.testing.assert_array_equal(in_graph(rows, folds), expected[rows, folds])
    assert fitted.trainable_weights == []


@pytest.mark.parametrize("case", ["no ratings", "no knowledge", "equal vectors", "one fold"])
def test_degenerate_data_stays_finite(case: str) -> None:
    ratings, knowledge = contents(), vectors()
    if case == "no ratings":
        none = np.zeros([ITEMS, FOLDS])
        ratings = replace(ratings, rating_sum_by_fold=none, rating_count_by_fold=none)
    elif case == "one fold":
        ratings = replace(
            ratings,
            rating_sum_by_fold=ratings.rating_sum_by_fold[:, :1],
            rating_count_by_fold=ratings.rating_count_by_fold[:, :1],
        )
    else:
        knowledge[:] = 0 if case == "no knowledge" else 3
    actual = prior(ratings, knowledge)
    values = np.stack([actual(np.arange(ITEMS + 1)), actual(np.arange(ITEMS + 1), 0)])
    assert np.isfinite(values).all()
    assert np.isfinite(actual.prediction.predict(vectors())).all()
    if case in ("no ratings", "no knowledge"):
        assert not values.any()


def test_the_configuration_weights_and_checkpoint_make_it_again(tmp_path: Path) -> None:
    fitted = prior()
    again = KnowledgePrior.from_config(fitted.get_config())
    again.set_weights(fitted.get_weights())
    restored = KnowledgePrior.from_config(fitted.get_config())
    path = tf.train.Checkpoint(prior=fitted).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(prior=restored).read(path).assert_consumed()
    for copy in (again, restored):
        np.testing.assert_array_equal(table(copy), table(fitted))
        np.testing.assert_array_equal(
            copy.prediction.predict(vectors()), fitted.prediction.predict(vectors())
        )


def test_mixed_precision_keeps_float32() -> None:
    with precision("mixed_bfloat16"):
        actual = prior()(np.arange(ITEMS + 1))
    assert actual.dtype == tf.float32
    np.testing.assert_array_equal(actual, table(prior())[:, -1])


def test_other_numbers_of_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="30 items need as many vectors. Received: 29"):
        prior(knowledge=vectors()[1:])
