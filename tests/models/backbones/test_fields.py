from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.backbones.base import FieldStack, beside_numbers
from tests.models.backbones.inputs import WIDTH, backbone_inputs, padded, row_of
from tests.models.builders import gradients_of, randomise
from tests.models.numpy_fields import numpy_fields


def field_stack(numbers_as_field: bool = False) -> FieldStack:
    layer, inputs = FieldStack(numbers_as_field), backbone_inputs()
    layer(inputs)
    randomise(layer.trainable_weights, seed=4)
    layer(inputs, training=True)
    return layer


@pytest.mark.parametrize("users", [1, 4])
@pytest.mark.parametrize("numbers_as_field", [False, True])
@pytest.mark.parametrize("sources", [0, 2])
def test_fields_are_stacked_in_order(users: int, numbers_as_field: bool, sources: int) -> None:
    layer, inputs = field_stack(numbers_as_field), backbone_inputs(users=users, sources=sources)
    expected = [numpy_fields(layer, inputs, row, row % users) for row in range(4)]
    stacked = layer(inputs)
    assert stacked.shape == (4, 1 + 2 + sources + numbers_as_field, WIDTH)
    np.testing.assert_allclose(stacked, expected, atol=1e-5)


def test_a_batch_of_1_equals_its_row_in_a_batch() -> None:
    layer, inputs = field_stack(True), backbone_inputs()
    for row in range(4):
        np.testing.assert_allclose(layer(row_of(inputs, row))[0], layer(inputs)[row], atol=1e-5)


def test_padding_changes_nothing() -> None:
    layer, inputs = field_stack(), backbone_inputs()
    np.testing.assert_allclose(layer(padded(inputs, 3)), layer(inputs), atol=1e-5)


def test_an_empty_history_has_an_interest_of_zeros() -> None:
    layer, inputs = field_stack(), backbone_inputs()
    empty = inputs._replace(history_mask=tf.zeros_like(inputs.history_mask))
    np.testing.assert_array_equal(layer(empty)[:, 0], np.zeros([4, WIDTH]))


def test_every_trainable_weight_gets_a_gradient() -> None:
    layer, inputs = field_stack(True), backbone_inputs()
    gradients = gradients_of(
        lambda: tf.reduce_sum(layer(inputs, training=True)), layer.trainable_weights
    )
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name


def test_configuration_makes_the_same_layer_again() -> None:
    again = FieldStack.from_config(FieldStack(True, name="all_fields").get_config())
    assert (again.numbers_as_field, again.name) == (True, "all_fields")


def test_numbers_stand_beside_the_fields() -> None:
    fields = tf.constant([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    numeric = tf.constant([[0], [9]])
    np.testing.assert_array_equal(
        beside_numbers(fields, numeric), [[1, 2, 3, 4, 0], [5, 6, 7, 8, 9]]
    )
