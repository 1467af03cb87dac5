from __future__ import annotations

import numpy as np
import pytest

from models.layers.sequence import AttentionGRU
from models.rerankers.base import ListInputs
from models.rerankers.dlcm import DeepListwiseContextModel
from tests.models.builders import sigmoid
from tests.models.numpy_layers import assert_real_scores, dense, numpy_features, numpy_top
from tests.models.rerankers.inputs import list_inputs, used


def numpy_states(layer: AttentionGRU, steps: list[np.ndarray]) -> list[np.ndarray]:
    """States of a GRU after each step, first step first."""
    kernel, recurrent, bias = (weight.astype(np.float64) for weight in layer.get_weights())
    units, state, states = layer.units, np.zeros(layer.units), []
    reset, proposed, update = (slice(part * units, (part + 1) * units) for part in range(3))
    for step in steps:
        given, kept = step @ kernel + bias, state @ recurrent
        gate = sigmoid(given[update] + kept[update])
        open_reset = sigmoid(given[reset] + kept[reset])
        new = np.tanh(given[proposed] + open_reset * kept[proposed])
        state = (1 - gate) * state + gate * new
        states.append(state)
    return states


def numpy_logits(layer: DeepListwiseContextModel, inputs: ListInputs, index: int) -> list[float]:
    features = numpy_features(layer._features, inputs, index)
    abstract = [numpy_top(layer._top, values) for values in features]
    steps = [np.concatenate(pair) for pair in zip(features, abstract, strict=True)]
    states = numpy_states(layer._recurrence, steps[::-1])[::-1]
    kernel, bias = dense(layer._context)
    (local,) = layer._local_logit.get_weights()
    logits = []
    for state in states:
        logit = 0.0
        for column in range(layer.context_units):
            # Entry [unit, column] of the context's matrix.
            entries = [unit * layer.context_units + column for unit in range(layer.units)]
            context = np.tanh(states[0] @ kernel[:, entries] + bias[entries])
            logit += float(local[column, 0]) * float(state @ context)
        logits.append(logit)
    return logits


@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(sources: int) -> None:
    inputs = list_inputs(sources=sources)
    layer = DeepListwiseContextModel((6, 5), units=4, context_units=3)
    used(layer, inputs)
    expected = [numpy_logits(layer, inputs, index) for index in range(4)]
    assert_real_scores(layer(inputs).numpy(), expected, inputs)
