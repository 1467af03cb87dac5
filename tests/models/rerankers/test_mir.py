from __future__ import annotations

import numpy as np
import pytest

from models.rerankers.base import ListInputs
from models.rerankers.mir import MultiLevelInteractionReranking
from tests.models.numpy_layers import (
    assert_real_scores,
    dense,
    numpy_features,
    numpy_linear,
    numpy_multi_head,
    numpy_set_to_list,
    numpy_top,
)
from tests.models.rerankers.inputs import WIDTH, list_inputs, used
from tests.models.rerankers.test_dlcm import numpy_states


def numpy_steps(
    layer: MultiLevelInteractionReranking, inputs: ListInputs, index: int
) -> np.ndarray:
    """l_j of the real steps, [T, 3 * units]."""
    kernel, bias = dense(layer._steps)
    real = inputs.history[index].numpy()[inputs.history_mask[index].numpy()]
    steps = [step @ kernel + bias for step in real]
    forwards = numpy_states(layer._forwards, steps)
    backwards = numpy_states(layer._backwards, steps[::-1])[::-1]
    return np.stack(
        [np.concatenate(parts) for parts in zip(steps, forwards, backwards, strict=True)]
    )


def numpy_feature_affinity(
    layer: MultiLevelInteractionReranking, inputs: ListInputs, index: int
) -> np.ndarray:
    """[L, T] of what is real; the last two numbers of a step are no field."""
    kernel, pairs, bias = layer._affinity.get_weights()
    steps = inputs.history[index].numpy()[inputs.history_mask[index].numpy()]
    rows = []
    for place in np.flatnonzero(inputs.candidate_mask[index]):
        own = [*inputs.candidate[index, place].numpy(), *inputs.side_fields[index, place].numpy()]
        row = []
        for step in steps:
            step_features = [step[:WIDTH], step[WIDTH : 2 * WIDTH]]
            affinity = float(bias)
            for p, field in enumerate(own):
                for q, other in enumerate(step_features):
                    affinity += pairs[p, q] * (field @ kernel @ other)
            row.append(affinity)
        rows.append(row)
    return np.array(rows)


def numpy_logits(
    layer: MultiLevelInteractionReranking, inputs: ListInputs, index: int
) -> list[float]:
    features = numpy_features(layer._features, inputs, index)
    kernel, bias = dense(layer._candidates)
    candidates = [values @ kernel + bias for values in features]
    intra_set = numpy_multi_head(layer._intra_set, candidates, candidates)
    members = np.stack([np.concatenate(pair) for pair in zip(candidates, intra_set, strict=True)])
    steps = numpy_steps(layer, inputs, index)
    age = np.log2(1 + np.arange(len(steps))[::-1])
    kernel, bias = dense(layer._decay_hidden)
    emphasis = []
    for values in features:
        hidden = values @ kernel + bias
        hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
        theta = np.log1p(np.exp(numpy_linear(layer._decay, hidden)))
        emphasis.append(1 + np.exp(-theta * age))
    affinity = numpy_feature_affinity(layer, inputs, index)
    read = numpy_set_to_list(layer._set_to_list, members, steps, affinity, np.stack(emphasis))
    return [
        numpy_linear(layer._logit, numpy_top(layer._top, np.concatenate(parts)))
        for parts in zip(features, read, strict=True)
    ]


@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(sources: int) -> None:
    inputs = list_inputs(sources=sources)
    layer = used(MultiLevelInteractionReranking((6, 5), units=4, num_heads=2), inputs)
    expected = [numpy_logits(layer, inputs, index) for index in range(4)]
    assert_real_scores(layer(inputs).numpy(), expected, inputs)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_numbers_of_a_rating_are_no_field(width: int) -> None:
    inputs = list_inputs()
    narrow = inputs._replace(
        candidate=inputs.candidate[..., :width],
        side_fields=inputs.side_fields[..., :width],
        history=inputs.history[..., -(2 * width + 2) :],
    )
    layer = MultiLevelInteractionReranking((6, 5), units=4, num_heads=2)
    layer(narrow)
    kernel, pairs, _ = layer._affinity.get_weights()
    assert kernel.shape == (width, width)
    # Four fields of a candidate with two of a step.
    assert pairs.shape == (4, 2)
