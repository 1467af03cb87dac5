"""Mean and deviation of knowledge match features in training samples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.examples import PreparedExamples

_BATCH = 4096


def match_statistics(
    model: tfrs.models.Model, examples: PreparedExamples
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics by which the model standardises its match features.

    Those of a learned match, which prepared examples do not hold, are computed with the kernel
    parameters that the model has now. In lists only candidates count, not padding, and nowhere
    candidates of which a source knows nothing (NaN).

    Returns:
      Mean and standard deviation, float32 [features] each; 0 and 0 where nothing is known.
    """
    match = examples.features.get("match")
    if match is None:
        match = _computed(model, examples)
    mask = examples.features.get("candidate_mask")
    if mask is not None:
        match = match[mask]
    masked = np.ma.masked_invalid(match)
    mean = masked.mean(axis=0, dtype=np.float64).filled(0.0)
    deviation = masked.std(axis=0, dtype=np.float64).filled(0.0)
    return mean.astype(np.float32), deviation.astype(np.float32)


def _computed(model: tfrs.models.Model, examples: PreparedExamples) -> np.ndarray:
    features = tf.function(
        lambda batch: model.prepared(batch)["match"], reduce_retracing=True, autograph=False
    )
    return np.concatenate([features(batch).numpy() for batch in examples.batches(_BATCH)])
