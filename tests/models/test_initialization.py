from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.initialization import published_initial_values
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from tests.models.backbones.inputs import backbone_inputs
from tests.models.builders import small_model
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


# Weights of rank 2 that are no dense matrix and no embedding.
OTHERS = {"gain", "bias", "points"}
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
