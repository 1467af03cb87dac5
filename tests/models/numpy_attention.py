"""The attention of Deep Interest Network in NumPy, from the weights of a built layer."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.layers.attention import TargetAttention
from tests.models.builders import sigmoid, softmax


def numpy_attention(
    layer: TargetAttention, candidate: np.ndarray, history: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Pools one history for one candidate, step by step, at inference.

    Args:
      layer: the built layer, whose weights are read.
      candidate: [width].
      history: [length, history width].
      mask: [length], false on padding.

    Returns:
      [width].
    """
    projection = dense(layer._projection)
    first = layer._first_kernel.numpy().astype(np.float64), layer._first_bias.numpy()
    hidden_layers = [first, *(dense(hidden_layer) for hidden_layer in layer._hidden)]
    keys, scores = [np.zeros(len(candidate))], [-np.inf if layer.softmax else 0.0]
    for step, real in zip(history, mask, strict=True):
        if not real:
            continue
        key = step @ projection[0] + projection[1]
        hidden = np.concatenate([candidate, key, candidate - key, candidate * key])
        for (kernel, bias), dice in zip(hidden_layers, layer._activations, strict=True):
            hidden = hidden @ kernel + bias
            (alpha,) = (weight.numpy() for weight in dice.trainable_weights)
            mean, variance = (weight.numpy() for weight in dice.non_trainable_weights)
            share = sigmoid((hidden - mean) / np.sqrt(variance + dice.epsilon))
            hidden = share * hidden + (1 - share) * alpha * hidden
        kernel, *bias = (weight.astype(np.float64) for weight in layer._score.get_weights())
        keys.append(key)
        scores.append(float((hidden @ kernel + sum(bias))[0]))
    if layer.softmax and len(scores) > 1:
        return softmax(np.array(scores)) @ keys
    return np.nan_to_num(np.array(scores), neginf=0.0) @ keys


def dense(layer: tf.keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a dense layer, in double precision."""
    kernel, bias = layer.get_weights()
    return kernel.astype(np.float64), bias.astype(np.float64)
