from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from models.adapters import ADAPTERS
from tests.models.trainable import NAMES, TrainableModel, trainable_model
from trainer.optimizers.composite import is_dense_kernel, is_embedding_table

FAST = ("bst", "prm", "two_tower")
# Learned vectors that are multiplied with nothing, and gains and shifts with several axes.
NO_KERNELS = ("points", "context", "gain", "bias")


def named(name: str, *shape: int) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), name=name)


@pytest.mark.parametrize(
    ("variable", "is_table", "is_kernel"),
    [
        (named("encoder/item_id_embedding", 5, 2), True, False),
        (named("embedding_1/embeddings", 5, 2), True, False),
        (named("encoder/item_id_embedding/part_3", 5, 2), True, False),
        (named("embedding/kernel", 5, 2), False, True),
        (named("gru/recurrent_kernel", 5, 2), False, True),
        (named("hein/shared_kernel_0", 3, 5, 2), False, True),
        (named("hein/shared_bias_0", 3, 5), False, False),
        (named("dense/bias", 5), False, False),
        (named("default_embedding", 5), False, False),
        (named("temperature_kernel"), False, False),
        (named("kernel_embedding", 5, 2), True, False),
    ],
)
def test_names_and_shapes_decide(variable: tf.Variable, is_table: bool, is_kernel: bool) -> None:
    assert (is_embedding_table(variable), is_dense_kernel(variable)) == (is_table, is_kernel)


def test_keras_layers() -> None:
    table = tf.keras.layers.Embedding(4, 2)
    table(tf.constant([1]))
    assert [is_embedding_table(weight) for weight in table.weights] == [True]
    for layer, inputs in (
        (tf.keras.layers.Dense(3), tf.ones([1, 2])),
        (tf.keras.layers.GRU(3), tf.ones([1, 2, 2])),
        (tf.keras.layers.LayerNormalization(), tf.ones([1, 2])),
    ):
        layer(inputs)
        for weight in layer.weights:
            assert is_dense_kernel(weight) == ("kernel" in weight.name)
            assert not is_embedding_table(weight)


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_tables_are_what_a_batch_looks_rows_up_in(name: str) -> None:
    assert_kinds_are_as_gradients_say(trainable_model(name))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prm", {"backbone_options": {"num_positions": 3}}),
        ("finalmlp", {"backbone_options": {"gating": "learned"}}),
        *(("deepfm", {"adapter": adapter}) for adapter in ADAPTERS if adapter != "hein"),
        ("deepfm", {"adapter": "replace_id", "sources": ("item", "plot")}),
    ],
)
@pytest.mark.slow
def test_tables_of_other_adapters_and_options(name: str, options: dict[str, Any]) -> None:
    shapes = {
        "mlp": {"units": (5, 4)},
        "moe": {"expert_units": (5, 4), "num_experts": 2},
        "pq": {"num_codebooks": 2, "codebook_size": 2},
    }
    assert_kinds_are_as_gradients_say(trainable_model(name, **shapes, **options))


def assert_kinds_are_as_gradients_say(trainable: TrainableModel) -> None:
    """Gradients of tables, and of tables alone, are sparse; every other matrix is a kernel."""
    model = trainable.model
    with tf.GradientTape() as tape:
        losses = [model.compute_loss((trainable.features, trainable.labels), training=True)]
        loss = tf.add_n([*losses, *model.losses])
    gradients = tape.gradient(loss, model.trainable_variables)
    tables = 0
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        is_table = is_embedding_table(variable)
        tables += is_table
        assert isinstance(gradient, tf.IndexedSlices) == is_table, variable.name
        if variable.shape.rank < 2:
            assert not is_dense_kernel(variable), variable.name
        elif not is_table:
            is_kernel = not any(name in variable.name.split("/")[-1] for name in NO_KERNELS)
            assert is_dense_kernel(variable) == is_kernel, variable.name
    assert tables >= 1
