"""Scores of prepared examples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.ranking import RankingModel
from trainer.examples import PreparedExamples

_BATCH = 4096


def predict(model: RankingModel, examples: PreparedExamples) -> np.ndarray:
    """Probabilities of a part's samples, in order: [n], float32."""
    score = _compiled(model)
    scores = []
    for start in range(0, len(examples), _BATCH):
        batch = {
            name: tf.constant(value[start : start + _BATCH])
            for name, value in examples.features.items()
        }
        scores.append(score(batch).numpy())
    return np.concatenate(scores)


def _compiled(model: RankingModel) -> tf.types.experimental.GenericFunction:
    """The model's scoring function, traced once per model however often it is validated."""
    if not hasattr(model, "_compiled_probabilities"):
        model._compiled_probabilities = tf.function(model.probabilities, reduce_retracing=True)
    return model._compiled_probabilities
