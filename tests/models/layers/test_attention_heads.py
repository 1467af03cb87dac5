from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.attention import by_head, head_projections, head_scores, side_by_side


def test_a_head_is_a_part_of_every_vector() -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    heads = by_head(values, 2).numpy()
    assert heads.shape == (2, 2, 3, 2)
    np.testing.assert_array_equal(heads[:, 0], values[:, :, :2])
    np.testing.assert_array_equal(heads[:, 1], values[:, :, 2:])
    np.testing.assert_array_equal(side_by_side(heads), values)


def test_graphs_keep_what_they_know_of_the_sizes() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4])])
    def known(values: tf.Tensor) -> tf.Tensor:
        heads = by_head(values, 2)
        assert heads.shape.as_list() == [None, 2, 3, 2]
        assert side_by_side(heads).shape.as_list() == [None, 3, 4]
        return side_by_side(heads)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4])])
    def unknown(values: tf.Tensor) -> tf.Tensor:
        return side_by_side(by_head(values, 2))

    for values in (np.ones([2, 3, 4]), np.ones([0, 3, 4])):
        np.testing.assert_array_equal(known(values), values)
        np.testing.assert_array_equal(unknown(values), values)
    assert unknown(np.ones([2, 0, 4])).shape == (2, 0, 4)


def test_scores_are_products_over_the_root_of_the_width() -> None:
    query, key = np.full([1, 1, 1, 4], 2.0), np.array([[[[1.0, 2, 3, 4], [0, 0, 0, 1]]]])
    np.testing.assert_allclose(head_scores(query, key), [[[[10, 1]]]])


def test_projections_are_linear_and_named() -> None:
    projections = head_projections(6)
    assert [layer.name for layer in projections] == ["query", "key", "value", "heads_out"]
    for layer in projections:
        np.testing.assert_array_equal(layer(np.zeros([1, 3])), np.zeros([1, 6]))
        assert len(layer.weights) == 1
