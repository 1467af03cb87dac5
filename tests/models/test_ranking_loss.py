from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.ranking import RankingModel
from tests.models.builders import raw_features, small_model

COUNT = 12


@pytest.mark.parametrize("tasks", [{}, {"loved": 0.3, "bought": 1.7}])
def test_without_class_weights_the_loss_is_the_tasks_bit_for_bit(tasks: dict[str, float]) -> None:
    model, raw = small_model(tasks=tasks), raw_features(COUNT)
    labels = np.random.default_rng(0).integers(0, 2, [COUNT, 1 + len(tasks)]).astype(np.float32)
    logits = tf.reshape(model(raw), [COUNT, -1])
    task = tfrs.tasks.Ranking(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))
    expected = tf.add_n(
        [
            weight * task(labels[:, column : column + 1], logits[:, column : column + 1])
            for column, weight in enumerate([1.0, *tasks.values()])
        ]
    )
    np.testing.assert_array_equal(model.compute_loss((raw, labels)), expected)
    np.testing.assert_array_equal(model.loss_count((raw, labels)), COUNT)


def test_class_weights_multiply_losses_and_the_mean_is_over_samples() -> None:
    model, raw = small_model(tasks={"loved": 0.5}), raw_features(COUNT)
    weighted = RankingModel(
        model.inputs_preparation, model.scorer, model.adapter, {"loved": 0.5}, (0.5, 3.0)
    )
    labels = np.random.default_rng(0).integers(0, 2, [COUNT, 2]).astype(np.float32)
    logits = model(raw).numpy().astype(np.float64)
    losses = np.where(labels > 0, 3.0 * np.log1p(np.exp(-logits)), 0.5 * np.log1p(np.exp(logits)))
    expected = losses[:, 0].mean() + 0.5 * losses[:, 1].mean()
    np.testing.assert_allclose(weighted.compute_loss((raw, labels)), expected, rtol=1e-5)
