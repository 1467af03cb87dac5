from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.preprocessing import StandardScaler

from models.adapters.base import Standardization, component_statistics
from tests.models.adapters.cases import adapter, stored_vectors, table_of

SPREADS = np.array([0.01, 1.0, 30.0, 1.0])


def vectors(count: int = 50) -> np.ndarray:
    """Components of very different spread and mean; the last is constant."""
    random = np.random.default_rng(0)
    drawn = random.normal(size=[count, 4]) * SPREADS + [0.3, -2.0, 5.0, 0.0]
    drawn[:, 3] = 0.7
    return drawn.astype(np.float16)


def test_agrees_with_scikit_learn() -> None:
    table = table_of(vectors())
    exact = stored_vectors(table)
    actual = Standardization(table)(table.vectors(np.arange(1, 51)))
    expected = StandardScaler().fit_transform(exact)
    np.testing.assert_allclose(actual[:, :3], expected[:, :3], atol=1e-4)
    np.testing.assert_array_equal(actual[:, 3], np.zeros(50))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = component_statistics(table_of(vectors()))
    monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 7)
    for part, expected in zip(component_statistics(table_of(vectors())), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)


def test_row_0_does_not_count() -> None:
    mean, scale = component_statistics(table_of(np.array([[1.0, 2.0], [3.0, 6.0]])))
    np.testing.assert_allclose(mean, [2, 4])
    np.testing.assert_allclose(scale, [1, 1 / 2])


def test_a_table_of_one_vector_gives_zeros() -> None:
    table = table_of(np.array([[1.0, -2.0]]))
    np.testing.assert_array_equal(Standardization(table)(table.vectors([1])), [[0, 0]])


def test_equal_numbers_are_constant_though_their_mean_is_rounded() -> None:
    table = table_of(np.full([9, 1], 0.1))
    np.testing.assert_array_equal(component_statistics(table)[1], [0])


def test_statistics_are_saved_and_not_trained(tmp_path: Path) -> None:
    table, other = table_of(vectors()), table_of(vectors() * 2)
    layer, restored = Standardization(table), Standardization(other)
    assert layer.trainable_weights == []
    inputs = table.vectors(np.arange(1, 51))
    assert np.abs(restored(inputs) - layer(inputs)).max() > 0.1
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
    tf.train.Checkpoint(layer=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(restored(inputs), layer(inputs))


def test_an_adapter_reads_standardised_vectors() -> None:
    layer = adapter("linear", standardized_knowledge=True)
    expected = StandardScaler().fit_transform(stored_vectors(layer.tables["item"]))
    rows = np.arange(1, layer.tables["item"].num_rows)
    np.testing.assert_allclose(layer.vectors("item", rows), expected, atol=1e-5)
    plain = adapter("linear")
    np.testing.assert_allclose(
        plain.vectors("item", rows), stored_vectors(layer.tables["item"]), atol=1e-6
    )
