"""Padding may hold anything: no number there reaches a score, a gradient or a moving statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from tests.models.backbones.inputs import backbone_inputs
from tests.models.builders import (
    POSITIVE_RATING,
    Tensors,
    gradients_of,
    randomise,
    raw_features,
    small_model,
)
from tests.models.network_contract import names_with_slow_variants, weights_kept
from tests.models.raw_lists import raw_lists, small_reranking_model
from tests.models.rerankers.inputs import list_inputs
from tests.models.retrieval.inputs import item_inputs, user_inputs
from tests.models.retrieval.models import small_retrieval_model

NO_NUMBERS = (np.nan, np.inf, -np.inf)
WITH_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "dien-auxiliary loss": ("dien", {"auxiliary_weight": 0.5, "evolution": "gru"}),
    "bst-all outputs": ("bst", {"outputs": "all", "num_blocks": 2}),
    "din-softmax": ("din", {"attention_softmax": True}),
    "din-batch statistics": ("din", {"dice_statistics": "batch"}),
    "prm-positions": ("prm", {"num_positions": 3}),
    "setrank-full": ("setrank", {"attention": "full"}),
    "two_tower-mean": ("two_tower", {"pooling": "mean"}),
}


def on_padding(values: tf.Tensor, mask: tf.Tensor, fillers: Sequence[float]) -> tf.Tensor:
    """The values, with fillers in turn on padding."""
    shape = [*mask.shape, *[1] * (values.shape.rank - mask.shape.rank)]
    filled = tf.constant(np.resize(fillers, values.shape), values.dtype)
    return tf.where(tf.reshape(mask, shape), values, filled)


def padded_inputs(name: str, fillers: Sequence[float]) -> tuple[Any, tf.Tensor | None]:
    """Inputs of a network with fillers on padding, and which outputs are real."""
    if name in RERANKERS:
        lists = list_inputs()
        candidate_inputs = {
            field: on_padding(getattr(lists, field), lists.candidate_mask, fillers)
            for field in ("candidate", "numeric", "side_fields")
        }
        history = on_padding(lists.history, lists.history_mask, fillers)
        return lists._replace(history=history, **candidate_inputs), lists.candidate_mask
    if name in RETRIEVERS:
        users = user_inputs()
        history = on_padding(users.history, users.history_mask, fillers)
        return (users._replace(history=history), item_inputs()), None
    inputs = backbone_inputs()
    history = on_padding(inputs.history, inputs.history_mask, fillers)
    return inputs._replace(history=history), None


def outcome(
    layer: tf.keras.layers.Layer, inputs: Any, real: tf.Tensor | None
) -> dict[str, np.ndarray]:
    """Scores in use and in training, gradients, and statistics after a step of training."""

    def scores(training: bool) -> tf.Tensor:
        outputs = tf.concat(
            [tf.reshape(part, [-1]) for part in tf.nest.flatten(layer(inputs, training=training))],
            axis=0,
        )
        return outputs if real is None else tf.boolean_mask(outputs, tf.reshape(real, [-1]))

    collected = {"use": scores(training=False).numpy()}

    def loss() -> tf.Tensor:
        trained = scores(training=True)
        collected["training"] = trained.numpy()
        return tf.add_n([tf.reduce_sum(tf.square(trained - 0.5)), *layer.losses])

    weights = layer.trainable_weights
    for number, gradient in enumerate(gradients_of(loss, weights)):
        name = f"gradient {number} of {weights[number].name}"
        collected[name] = np.zeros(()) if gradient is None else gradient
    for number, weight in enumerate(layer.non_trainable_weights):
        collected[f"statistic {number}"] = weight.numpy()
    return collected


@names_with_slow_variants([*BACKBONES, *RERANKERS, *RETRIEVERS, *WITH_OPTIONS])
def test_no_network_reads_padding(name: str) -> None:
    kind, options = WITH_OPTIONS.get(name, (name, {}))
    kinds: dict[str, Callable[..., tf.keras.layers.Layer]] = {
        **BACKBONES,
        **RERANKERS,
        **RETRIEVERS,
    }
    layer, (inputs, real) = kinds[kind](top_units=(6, 5), **options), padded_inputs(kind, [1.0])
    layer(inputs)
    randomise(layer.trainable_weights, seed=1)
    with weights_kept(layer):
        expected = outcome(layer, inputs, real)
    actual = outcome(layer, *padded_inputs(kind, NO_NUMBERS))
    assert len(actual) > 5
    for (part, values), others in zip(actual.items(), expected.values(), strict=True):
        assert np.isfinite(values).all(), part
        np.testing.assert_array_equal(values, others, err_msg=part)


def with_ratings_on_padding(raw: Tensors, fillers: Sequence[float]) -> Tensors:
    is_real = raw["history_item_id"] != ""
    assert not tf.reduce_all(is_real)
    return raw | {"history_rating": on_padding(raw["history_rating"], is_real, fillers)}


LEARNED = {"learned": True, "dimension": 4, "history_length": 5}
MODELS: dict[str, Callable[[], tf.keras.Model]] = {
    "din": lambda: small_model(),
    "means": lambda: small_model(match="means", with_profiles=True),
    "ridge": lambda: small_model(match="ridge", history_knowledge=True),
    "exact": lambda: small_model(match="ridge", knowledge_match=LEARNED | {"form": "exact"}),
    "learned means": lambda: small_model(match="means", knowledge_match=LEARNED),
    "lists": lambda: small_reranking_model("mir", match="ridge"),
    "retrieval": small_retrieval_model,
}


@pytest.mark.parametrize("name", MODELS)
def test_ratings_on_padding_reach_no_model(name: str) -> None:
    model = MODELS[name]()
    raw = raw_lists() if name == "lists" else raw_features(8)
    expected, actual = (
        tf.nest.flatten(model(with_ratings_on_padding(raw, fillers)))
        for fillers in ([POSITIVE_RATING + 1], NO_NUMBERS)
    )
    prepared = model.inputs_preparation(with_ratings_on_padding(raw, NO_NUMBERS))
    assert np.isfinite(prepared["history_rating"]).all()
    for scores, others in zip(actual, expected, strict=True):
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, others)
