from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.layer_support import published_initial_values
from models.layers.attention import FieldSelfAttention
from models.layers.interaction import BilinearInteraction, FieldGraph
from models.layers.sequence import AttentionGRU
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from tests.models.backbones.inputs import backbone_inputs
from tests.models.builders import named_weights, small_model
from tests.models.rerankers.inputs import list_inputs
from tests.models.retrieval.inputs import item_inputs, user_inputs


def test_kernels_and_embeddings_are_normal_and_not_truncated() -> None:
    layer = tf.keras.layers.Dense(400)
    layer(tf.zeros([1, 600]))
    published_initial_values(layer, seed=1)
    kernel = layer.kernel.numpy()
    deviation = np.sqrt(2 / 1000)
    np.testing.assert_allclose(kernel.std(), deviation, rtol=0.01)
    # A truncated normal has nothing beyond two deviations, this one 4.6 %.
    beyond = (np.abs(kernel) > 2 * deviation).mean()
    np.testing.assert_allclose(beyond, 0.0455, atol=0.002)
    np.testing.assert_array_equal(layer.bias, np.zeros(400))


def test_only_kernels_and_embeddings_of_a_model_change() -> None:
    model = small_model(match="means", zero_start=True)
    term = model.scorer._match_terms[0].kernel
    term.assign(tf.zeros_like(term))
    before = {weight.ref(): weight.numpy() for weight in model.trainable_weights}
    published_initial_values(model, seed=1)
    changed = {
        weight.name.rsplit("/", 1)[-1].removesuffix(":0")
        for weight in model.trainable_weights
        if not np.array_equal(before[weight.ref()], weight.numpy())
    }
    assert {"kernel", "item_id_embedding", "genres_embedding", "first_kernel"} <= changed
    assert all(name.endswith(("kernel", "embedding")) for name in changed)
    np.testing.assert_array_equal(term, np.zeros_like(term))
    again = small_model(match="means", zero_start=True)
    published_initial_values(again, seed=1)
    np.testing.assert_array_equal(
        again.scorer.assembly.items.ids.table(), model.scorer.assembly.items.ids.table()
    )


def built(layer: tf.keras.layers.Layer, *inputs: tf.Tensor) -> tf.keras.layers.Layer:
    layer(inputs[0] if len(inputs) == 1 else inputs)
    return layer


STEPS = (tf.zeros([1, 2, 90]), tf.ones([1, 2], tf.bool), tf.zeros([1, 2]))
FIELDS = tf.zeros([1, 4, 60])
# Layer, name of a kernel that holds several matrices, their number, and fans of the published one.
FUSED: dict[str, tuple[Callable[[], tf.keras.layers.Layer], str, int, tuple[int, int]]] = {
    "autoint": (lambda: built(FieldSelfAttention(2, 25), FIELDS), "kernel", 4, (60, 50)),
    "without residual": (
        lambda: built(FieldSelfAttention(1, 80, residual=False), FIELDS),
        "kernel",
        3,
        (60, 80),
    ),
    "gru": (lambda: built(AttentionGRU(70, "gru"), *STEPS[:2]), "kernel", 3, (90, 70)),
    "augru": (lambda: built(AttentionGRU(70, "augru"), *STEPS), "kernel", 3, (90, 70)),
    "agru": (lambda: built(AttentionGRU(70, "agru"), *STEPS), "kernel", 2, (90, 70)),
    "edges": (lambda: built(FieldGraph(), tf.zeros([1, 3, 2000])), "edge_kernel", 2, (4000, 1)),
    "graph's gru": (lambda: built(FieldGraph(), FIELDS), "kernel", 3, (60, 60)),
    "field each": (
        lambda: built(BilinearInteraction("field_each"), FIELDS),
        "pairs_0_kernel",
        1,
        (60, 60),
    ),
    "pairs": (
        lambda: built(BilinearInteraction("field_interaction"), FIELDS),
        "pairs_0_kernel",
        3,
        (60, 60),
    ),
}


@pytest.mark.parametrize("name", FUSED)
def test_a_matrix_inside_a_kernel_has_its_own_fans(name: str) -> None:
    make, kernel_name, count, (fan_in, fan_out) = FUSED[name]
    layer = make()
    published_initial_values(layer, seed=1)
    blocks = np.split(named_weights(layer)[kernel_name], count, axis=1)
    expected = np.sqrt(2 / (fan_in + fan_out))
    np.testing.assert_allclose([block.std() for block in blocks], expected, rtol=0.06)
    np.testing.assert_allclose(np.concatenate(blocks).std(), expected, rtol=0.04)


@pytest.mark.parametrize("name", ["augru", "graph's gru"])
def test_recurrent_kernels_stay_orthogonal(name: str) -> None:
    layer = FUSED[name][0]()
    published_initial_values(layer, seed=1)
    kernel = named_weights(layer)["recurrent_kernel"]
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(len(kernel)), atol=1e-5)


# Weights of rank 2 that are no dense matrix and no embedding.
OTHERS = {"gain", "bias", "points", "recurrent_kernel"}
WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "prm": {"num_positions": 3},
    "fignn": {"attention_heads": 2, "deep_part": True},
    "fibinet": {"bilinear_kind": "field_each"},
}


@pytest.mark.parametrize("name", [*BACKBONES, *RERANKERS, *RETRIEVERS])
def test_every_dense_matrix_and_embedding_of_a_model_is_drawn(name: str) -> None:
    kinds: dict[str, Any] = {**BACKBONES, **RERANKERS, **RETRIEVERS}
    layer = kinds[name](**WITH_OPTIONS.get(name, {}))
    if name in BACKBONES:
        layer(backbone_inputs())
    elif name in RERANKERS:
        layer(list_inputs())
    else:
        layer((user_inputs(), item_inputs()))
    before = {weight.ref(): weight.numpy() for weight in layer.trainable_weights}
    published_initial_values(layer, seed=1)
    kept = {
        weight.name.rsplit("/", 1)[-1].removesuffix(":0")
        for weight in layer.trainable_weights
        if weight.shape.rank == 2 and np.array_equal(before[weight.ref()], weight.numpy())
    }
    assert kept <= OTHERS
