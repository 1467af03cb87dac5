"""The parts of backbones and re-rankers in NumPy, from the weights of built layers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.backbones.base import BackboneInputs, FieldStack
from models.layers.attention import MaskedMultiHeadAttention, TargetAttention
from models.layers.gates import MaskBlock
from models.layers.sequence import HistoryTransformer, TransformerBlock
from models.layers.set_attention import InducedSetAttention, SetAttentionBlock, SetToListAttention
from models.rerankers.base import CandidateFeatures, ListInputs
from tests.models.builders import relu, sigmoid, softmax


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


def numpy_joined(interest: np.ndarray, inputs: BackboneInputs, row: int) -> np.ndarray:
    """What was read in a history, beside the candidate, its numbers and its side fields."""
    candidate, side_fields = inputs.candidate[row].numpy(), inputs.side_fields[row].numpy()
    return np.concatenate(
        [interest, candidate.reshape(-1), inputs.numeric[row], side_fields.reshape(-1)]
    )


def numpy_attention_joined(
    layer: tf.keras.layers.Layer, inputs: BackboneInputs, row: int, user: int
) -> np.ndarray:
    """The same of a backbone whose target attention reads the history."""
    candidate = inputs.candidate[row].numpy().reshape(-1)
    history, mask = inputs.history[user].numpy(), inputs.history_mask[user].numpy()
    return numpy_joined(numpy_attention(layer._attention, candidate, history, mask), inputs, row)


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


def numpy_mask_block(layer: MaskBlock, instance: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """One sample: instance [instance width] and hidden [hidden width] -> [units]."""
    kernel, bias = dense(layer._aggregation)
    aggregated = relu(instance @ kernel + bias)
    kernel, bias = dense(layer._projection)
    masked = np.array(
        [
            (sum(aggregated[a] * kernel[a, i] for a in range(len(aggregated))) + bias[i]) * number
            for i, number in enumerate(hidden)
        ]
    )
    (kernel,) = layer._hidden.get_weights()
    transformed = masked @ kernel.astype(np.float64)
    gain, offset = layer._normalise.get_weights()
    mean, variance = transformed.mean(), transformed.var()
    return relu(gain * (transformed - mean) / np.sqrt(variance + 1e-5) + offset)


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


def numpy_set_to_list(
    layer: SetToListAttention,
    members: np.ndarray,
    steps: np.ndarray,
    features: np.ndarray,
    decay: np.ndarray,
) -> np.ndarray:
    """One set and one list, all of them real.

    Args:
      layer: the built layer, whose weights are read.
      members: [L, width].
      steps: [T, list width].
      features: [L, T].
      decay: [L, T].

    Returns:
      [L, width + list width].
    """
    to_steps, to_members, for_steps = (
        kernel.numpy().astype(np.float64)
        for kernel in (layer._affinity, layer._between_candidates, layer._to_steps)
    )
    size, length = features.shape
    root = np.sqrt(members.shape[1])
    affinity = np.zeros([size, length])
    between, history = np.zeros([size, size]), np.zeros([size, length])
    for i in range(size):
        for j in range(length):
            item_level = members[i] @ to_steps @ steps[j] / root
            affinity[i, j] = np.tanh((item_level + features[i, j]) * decay[i, j])
            history[i, j] = members[i] @ for_steps @ steps[j] / root
        for k in range(size):
            between[i, k] = members[i] @ to_members @ members[k] / root
    outputs = []
    for i in range(size):
        set_vector, list_vector = np.zeros(members.shape[1]), np.zeros(steps.shape[1])
        scores = [
            np.tanh(
                between[i, k]
                + sum(history[i, j] * affinity[k, j] for j in range(length)) / max(length, 1)
            )
            for k in range(size)
        ]
        for weight, member in zip(softmax(np.array(scores)), members, strict=True):
            set_vector += weight * member
        if length:
            scores = [
                np.tanh(
                    history[i, j] + sum(between[i, k] * affinity[k, j] for k in range(size)) / size
                )
                for j in range(length)
            ]
            for weight, step in zip(softmax(np.array(scores)), steps, strict=True):
                list_vector += weight * step
        outputs.append(np.concatenate([set_vector, list_vector]))
    return np.reshape(outputs, [size, members.shape[1] + steps.shape[1]])


def numpy_features(layer: CandidateFeatures, inputs: ListInputs, index: int) -> list[np.ndarray]:
    """x_i of the real candidates of one list, at inference."""
    history, mask = inputs.history[index].numpy(), inputs.history_mask[index].numpy()
    features = []
    for place in np.flatnonzero(inputs.candidate_mask[index]):
        candidate = inputs.candidate[index, place].numpy().reshape(-1)
        parts = [
            numpy_attention(layer._attention, candidate, history, mask),
            candidate,
            inputs.numeric[index, place].numpy(),
            inputs.side_fields[index, place].numpy().reshape(-1),
        ]
        features.append(np.concatenate(parts).astype(np.float64))
    return features


def assert_real_scores(scores: np.ndarray, expected: list[list[float]], inputs: ListInputs) -> None:
    """Scores [b, L] of real candidates equal those computed list by list."""
    for index, logits in enumerate(expected):
        real = inputs.candidate_mask[index].numpy()
        np.testing.assert_allclose(scores[index][real], logits, atol=1e-5)
    assert np.ptp(np.concatenate(expected)) > 1e-2
