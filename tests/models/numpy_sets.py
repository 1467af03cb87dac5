"""Attention between sets in NumPy, member by member, from the weights of built layers.

Padding is left out before anything is computed.
"""

from __future__ import annotations

import numpy as np

from models.layers.attention import MaskedMultiHeadAttention
from models.layers.set_attention import InducedSetAttention, SetAttentionBlock
from tests.models.builders import relu, softmax
from tests.models.numpy_attention import dense

Vectors = list[np.ndarray]


def numpy_multi_head(
    layer: MaskedMultiHeadAttention, queries: Vectors, members: Vectors
) -> Vectors:
    """What each query gathers from members that are all real."""
    query, key, value, heads_out = (
        part.get_weights()[0].astype(np.float64)
        for part in (layer._query, layer._key, layer._value, layer._heads_out)
    )
    width = layer.units // layer.num_heads
    outputs = []
    for vector in queries:
        gathered = np.zeros(layer.units)
        for head in range(layer.num_heads):
            part = slice(head * width, (head + 1) * width)
            scores = [
                (vector @ query)[part] @ (member @ key)[part] / np.sqrt(width) for member in members
            ]
            weights = softmax(np.array(scores)) if members else np.zeros(0)
            for weight, member in zip(weights, members, strict=True):
                gathered[part] += weight * (member @ value)[part]
        outputs.append(gathered @ heads_out)
    return outputs


def numpy_set_block(layer: SetAttentionBlock, queries: Vectors, members: Vectors) -> Vectors:
    """One block: queries to members that are all real."""
    hidden_kernel, hidden_bias = dense(layer._hidden)
    narrow_kernel, narrow_bias = dense(layer._narrow)
    outputs = []
    attended = numpy_multi_head(layer._attention, queries, members)
    for query, gathered in zip(queries, attended, strict=True):
        first = _normalised(layer, 0, query + gathered)
        hidden = relu(first @ hidden_kernel + hidden_bias)
        outputs.append(_normalised(layer, 1, first + hidden @ narrow_kernel + narrow_bias))
    return outputs


def numpy_induced(layer: InducedSetAttention, members: Vectors) -> Vectors:
    """Members that are all real, by way of the inducing points."""
    points = list(layer._points.numpy().astype(np.float64))
    return numpy_set_block(layer._spread, members, numpy_set_block(layer._gather, points, members))


def _normalised(layer: SetAttentionBlock, index: int, values: np.ndarray) -> np.ndarray:
    scale, offset = layer._norms[index].get_weights()
    centred = values - values.mean()
    return centred / np.sqrt(np.mean(centred**2) + 1e-6) * scale + offset
