from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.catalogue import Catalogue
from models.features import ItemEncoder
from models.item_ids import TrainedIds
from tests.models.builders import catalogue_contents, gradients_of, named_weights, randomise

WIDTH = 3
HISTORY = np.array([[1, 0, 6], [2, 2, 5]], np.int32)


def fresh_encoder(width: int = WIDTH, **options: Any) -> ItemEncoder:
    catalogue = Catalogue(catalogue_contents())
    ids = TrainedIds(catalogue.num_trained_items + 1, width, catalogue.embedding_rows)
    return ItemEncoder(catalogue, ids, width, **options)


def encoder(**options: Any) -> ItemEncoder:
    """Ids and genres with random embeddings of width 3."""
    layer = fresh_encoder(**options)
    layer(np.array([1], np.int32), HISTORY[:1])
    randomise(layer.trainable_weights, seed=0)
    return layer


def expected_fields(layer: ItemEncoder) -> np.ndarray:
    """Fields of the catalogue rows 0..6, written out from the tiny catalogue."""
    weights = named_weights(layer)
    ids, genres = weights["item_id_embedding"], weights["genres_embedding"]
    return np.array(
        [
            [ids[0], genres[1]],  # unknown item
            [ids[2], genres[2]],  # Action
            [ids[4], (genres[2] + genres[3] + genres[4]) / 3],  # Action, Comedy, Drama
            [ids[1], genres[3]],  # Comedy
            [ids[0], genres[1]],  # a new item without genres
            [ids[3], (genres[4] + genres[1]) / 2],  # Drama and an unknown genre
            [ids[0], genres[4]],  # a new item, Drama
        ]
    )


def test_fields_are_the_id_and_the_mean_of_attribute_embeddings() -> None:
    layer = encoder()
    candidates = np.array([0, 1, 2, 3, 4, 5, 6, 2], np.int32)
    encoded, history = layer(candidates, HISTORY)
    expected = expected_fields(layer)
    assert layer.num_fields == 2
    np.testing.assert_allclose(encoded, expected[candidates], atol=1e-6)
    np.testing.assert_allclose(history, expected[HISTORY], atol=1e-6)


def test_lists_of_candidates() -> None:
    layer = encoder()
    candidates = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    encoded, history = layer(candidates, HISTORY)
    assert encoded.shape == (2, 3, 2, WIDTH)
    np.testing.assert_allclose(encoded, expected_fields(layer)[candidates], atol=1e-6)
    np.testing.assert_allclose(history, expected_fields(layer)[HISTORY], atol=1e-6)


@pytest.mark.parametrize("history_shape", [(1, 3), (1, 0), (4, 1), (4, 0)])
def test_histories_of_any_shape(history_shape: tuple[int, int]) -> None:
    layer, candidates = encoder(), np.array([1, 2, 3, 4], np.int32)
    rows = np.resize(np.array([1, 5, 0], np.int32), history_shape)
    encoded, history = layer(candidates, rows)
    assert history.shape == (*history_shape, 2, WIDTH)
    np.testing.assert_allclose(history, expected_fields(layer)[rows], atol=1e-6)
    np.testing.assert_allclose(encoded, expected_fields(layer)[candidates], atol=1e-6)


def test_first_embeddings_are_small_and_random() -> None:
    tf.keras.utils.set_random_seed(0)
    layer = fresh_encoder(width=400)
    layer(np.array([1], np.int32), HISTORY)
    assert [weight.shape for weight in layer.trainable_weights] == [(5, 400), (5, 400)]
    for weight in layer.trainable_weights:
        assert np.std(weight) == pytest.approx(0.05, rel=0.1), weight.name


@pytest.mark.parametrize("shape", [(2000,), (200, 10)])
def test_ids_are_hidden_in_training_only(shape: tuple[int, ...]) -> None:
    layer = encoder(id_dropout_rate=0.25)
    candidates = np.full(shape, 2, np.int32)
    assert layer.hidden_ids(candidates, None) is None
    assert layer.hidden_ids(candidates, False) is None
    assert encoder(id_dropout_rate=0.0).hidden_ids(candidates, True) is None
    tf.keras.utils.set_random_seed(0)
    hidden = layer.hidden_ids(candidates, True).numpy()
    assert hidden.shape == shape
    # Three standard deviations of a share of 0.25 among 2,000.
    assert hidden.mean() == pytest.approx(0.25, abs=0.029)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1,)])
def test_a_hidden_id_is_the_default_and_nothing_else_changes(shape: tuple[int, ...]) -> None:
    layer = encoder()
    candidates = np.resize(np.array([2, 1, 3, 5, 0, 2], np.int32), shape)
    hidden = np.resize([True, False, False, True, True, False], shape)
    encoded, history = layer(candidates, HISTORY, tf.constant(hidden))
    expected = expected_fields(layer)
    fields = expected[candidates]
    fields[hidden, 0] = expected[0, 0]
    np.testing.assert_allclose(encoded, fields, atol=1e-6)
    np.testing.assert_allclose(history, expected[HISTORY], atol=1e-6)


def test_hiding_ids_teaches_the_default_embedding() -> None:
    layer = encoder()
    candidates = np.full([50], 2, np.int32)
    hidden = tf.range(50) < 40
    (gradient,) = gradients_of(
        lambda: tf.reduce_sum(layer(candidates, HISTORY[:, :0], hidden)[0][:, 0]),
        layer.ids.trainable_weights,
    )
    np.testing.assert_array_equal(gradient[0], 40)
    assert sorted(gradient[1:].sum(axis=1)) == [0, 0, 0, 10 * WIDTH]


def test_regularization_is_the_mean_square_over_distinct_items() -> None:
    layer = encoder(id_regularization=0.01)
    layer(np.array([1, 1, 3], np.int32), np.array([[1, 0, 3], [0, 0, 3]], np.int32))
    ids = named_weights(layer)["item_id_embedding"]
    (loss,) = layer.losses
    distinct = ids[[2, 1, 0]]
    np.testing.assert_allclose(loss, 0.01 * (distinct**2).sum(axis=1).mean(), rtol=1e-5)
    plain = encoder()
    plain(np.array([1], np.int32), HISTORY)
    assert plain.losses == []


def test_every_embedding_table_gets_a_gradient_and_no_catalogue_table() -> None:
    layer = encoder()
    assert len(layer.trainable_weights) == 2
    candidates = np.array([1, 2, 5, 0], np.int32)
    for gradient in gradients_of(
        lambda: tf.reduce_sum(layer(candidates, HISTORY)[0]), layer.trainable_weights
    ):
        assert np.abs(gradient).max() > 0


def test_graph_equals_eager_and_keeps_the_shape() -> None:
    layer = encoder()

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([1, None], tf.int32)],
        autograph=False,
    )
    def in_graph(candidates: tf.Tensor, history: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, steps = layer(candidates, history)
        assert encoded.shape[1:] == (2, WIDTH)
        assert steps.shape.as_list() == [1, None, 2, WIDTH]
        return encoded, steps

    candidates = np.array([4, 3], np.int32)
    for actual, expected in zip(
        in_graph(candidates, HISTORY[:1]), layer(candidates, HISTORY[:1]), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-6)
