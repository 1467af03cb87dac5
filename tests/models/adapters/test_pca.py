from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from models.adapters.pca import PrincipalComponentAdapter, whitening_projection
from tests.models.adapters.cases import ROWS, adapter, stored_vectors, table_of
from tests.models.builders import augmented_tables


def signed(components: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Turns every component so that it points where the one of `by` does."""
    return components * np.sign((components * by).sum(axis=0))


def without_row_0(layer: PrincipalComponentAdapter, source: str) -> np.ndarray:
    return augmented_tables(layer)[source][1:]


@pytest.mark.parametrize("standardized", [False, True])
def test_agrees_with_scikit_learn(standardized: bool) -> None:
    layer = adapter("pca", standardized_knowledge=standardized)
    for source, rows in ROWS.items():
        vectors = stored_vectors(layer.tables[source])
        if standardized:
            vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
        expected = PCA(3, whiten=True, svd_solver="full").fit_transform(vectors)
        # scikit-learn divides by the deviation of a sample, n - 1, and not of all rows, n.
        expected *= np.sqrt((rows - 1) / (rows - 2))
        actual = without_row_0(layer, source)
        np.testing.assert_allclose(actual, signed(expected, actual), atol=1e-4)


def test_components_have_mean_0_deviation_1_and_no_correlation() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=[200, 6]) * [5, 4, 3, 2, 1, 0.1] + 7
    layer = PrincipalComponentAdapter({"item": table_of(vectors)}, 4)
    components = without_row_0(layer, "item").astype(np.float64)
    np.testing.assert_allclose(components.mean(axis=0), np.zeros(4), atol=1e-4)
    np.testing.assert_allclose(components.T @ components / 200, np.eye(4), atol=1e-4)


def test_missing_components_are_zero() -> None:
    layer = PrincipalComponentAdapter({"item": table_of(np.eye(3))}, 5)
    components = without_row_0(layer, "item")
    # Three points span two directions.
    np.testing.assert_array_equal(components[:, 2:], np.zeros([3, 3]))
    np.testing.assert_allclose(components[:, :2].std(axis=0), [1, 1], atol=1e-5)


@pytest.mark.parametrize("count", [1, 4])
def test_equal_vectors_have_no_component(count: int) -> None:
    layer = PrincipalComponentAdapter({"item": table_of(np.full([count, 3], 0.3))}, 2)
    np.testing.assert_array_equal(without_row_0(layer, "item"), np.zeros([count, 2]))


def test_only_the_defaults_are_trained() -> None:
    layer = adapter("pca")
    assert [weight.shape for weight in layer.trainable_weights] == [(3,), (3,)]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = augmented_tables(adapter("pca"))
    monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 4)
    for source, table in augmented_tables(adapter("pca")).items():
        np.testing.assert_allclose(table, whole[source], atol=1e-5)


def test_signs_are_fixed() -> None:
    projection = whitening_projection(np.diag([4.0, 1.0]), 2)
    np.testing.assert_allclose(projection, np.diag([0.5, 1.0]), atol=1e-12)
