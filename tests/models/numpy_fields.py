"""What field-based backbones are made of, in NumPy, from the weights of built layers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.backbones.base import BackboneInputs, FieldStack
from tests.models.builders import relu
from tests.models.numpy_attention import dense, numpy_attention


def numpy_fields(layer: FieldStack, inputs: BackboneInputs, row: int, user: int) -> np.ndarray:
    """The stack of one candidate, field after field, at inference: [fields, width]."""
    candidate = inputs.candidate[row].numpy().astype(np.float64)
    kernel, bias = dense(layer._query)
    query = candidate.reshape(-1) @ kernel + bias
    history, mask = inputs.history[user].numpy(), inputs.history_mask[user].numpy()
    fields = [numpy_attention(layer._attention, query, history, mask)]
    fields += list(candidate)
    fields += list(inputs.side_fields[row].numpy())
    if layer.numbers_as_field:
        (vectors,) = layer._numbers.get_weights()
        numbers = zip(inputs.numeric[row].numpy(), vectors, strict=True)
        fields.append(sum(number * vector for number, vector in numbers))
    return np.stack(fields)


def numpy_linear(layer: tf.keras.layers.Dense, values: np.ndarray) -> float:
    """A dense layer of one output, with or without bias."""
    kernel, *bias = layer.get_weights()
    return float(values @ kernel[:, 0].astype(np.float64) + sum(float(b[0]) for b in bias))


def numpy_top(network: tf.keras.Sequential, values: np.ndarray) -> np.ndarray:
    """Dense layers with ReLU, at inference."""
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.Dense):
            kernel, bias = dense(layer)
            values = relu(values @ kernel + bias)
    return values
