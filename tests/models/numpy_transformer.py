"""The transformer over a history in NumPy, step by step, from the weights of a built layer."""

from __future__ import annotations

import numpy as np

from models.layers.sequence import HistoryTransformer, TransformerBlock
from tests.models.builders import softmax
from tests.models.numpy_attention import dense


def numpy_transformer(
    layer: HistoryTransformer, candidate: np.ndarray, history: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Reads one history for one candidate, padding left out before anything is computed.

    Args:
      layer: the built layer, whose weights are read.
      candidate: [candidate width].
      history: [length, step width], newest last.
      mask: [length], false on padding.

    Returns:
      What the layer hands on, [width of its output].
    """
    positions = layer._positions.numpy().astype(np.float64)
    (step_kernel,) = layer._steps.get_weights()
    candidate_kernel, candidate_bias = dense(layer._candidate)
    real = history[mask]
    tokens = []
    for index, step in enumerate(real):
        distance = min(len(real) - 1 - index, len(positions) - 1)
        tokens.append(step @ step_kernel + positions[distance])
    tokens.append(candidate @ candidate_kernel + candidate_bias)
    for block in layer._blocks:
        tokens = numpy_block(block, tokens)
    if layer.outputs == "candidate":
        return tokens[-1]
    newest_first = tokens[-2::-1][: len(positions)]
    absent = [np.zeros(layer.units)] * (len(positions) - len(newest_first))
    return np.concatenate([*newest_first, *absent, tokens[-1]])


def numpy_block(block: TransformerBlock, tokens: list[np.ndarray]) -> list[np.ndarray]:
    """One block over tokens [width] each, all of them real."""
    query, key, value, heads_out = (
        part.get_weights()[0].astype(np.float64)
        for part in (block._query, block._key, block._value, block._heads_out)
    )
    hidden_kernel, hidden_bias = dense(block._hidden)
    output_kernel, output_bias = dense(block._narrow)
    head_width = len(tokens[0]) // block.num_heads
    outputs = []
    for token in tokens:
        heads = []
        for head in range(block.num_heads):
            part = slice(head * head_width, (head + 1) * head_width)
            scores = [
                (token @ query)[part] @ (other @ key)[part] / np.sqrt(head_width)
                for other in tokens
            ]
            weights = softmax(np.array(scores))
            heads.append(
                sum(
                    weight * (other @ value)[part]
                    for weight, other in zip(weights, tokens, strict=True)
                )
            )
        attended = normalised(block, 0, token + np.concatenate(heads) @ heads_out)
        hidden = attended @ hidden_kernel + hidden_bias
        hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
        outputs.append(normalised(block, 1, attended + hidden @ output_kernel + output_bias))
    return outputs


def normalised(block: TransformerBlock, index: int, values: np.ndarray) -> np.ndarray:
    """Layer normalisation `index` of a block over [width]."""
    scale, offset = block._norms[index].get_weights()
    centred = values - values.mean()
    return centred / np.sqrt(np.mean(centred**2) + 1e-6) * scale + offset
