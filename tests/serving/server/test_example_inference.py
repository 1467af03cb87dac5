from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.protocol.messages import input_pb2
from serving.server.errors import RequestError
from serving.server.example_inference import classify, examples_of, regress
from serving.server.servable import Servable
from tests.serving.toy_ranker import toy_base_path, toy_examples, toy_row_scores


@pytest.fixture(scope="module")
def servable() -> Servable:
    return Servable("toy", 3, toy_base_path() / "3")


@pytest.fixture(scope="module")
def examples() -> np.ndarray:
    return examples_of(input_pb2.Input(example_list={"examples": toy_examples()}))


def test_classes_carry_scores(servable: Servable, examples: np.ndarray) -> None:
    result = classify(servable, "classify", examples)
    scores = [[item.score for item in row.classes] for row in result.classifications]
    np.testing.assert_allclose(scores, np.reshape(toy_row_scores(), (3, 1)), rtol=1e-6)
    assert {item.label for row in result.classifications for item in row.classes} == {""}


def test_classes_carry_labels(servable: Servable, examples: np.ndarray) -> None:
    result = classify(servable, "classify_labelled", examples[:1])
    (row,) = result.classifications
    assert [item.label for item in row.classes] == ["disliked", "liked"]
    liked = toy_row_scores()[0]
    np.testing.assert_allclose([item.score for item in row.classes], [1 - liked, liked], rtol=1e-6)


def test_regression_gives_one_number_per_example(servable: Servable, examples: np.ndarray) -> None:
    result = regress(servable, "regress", examples)
    values = [regression.value for regression in result.regressions]
    np.testing.assert_allclose(values, toy_row_scores(), rtol=1e-6)


@pytest.mark.parametrize(
    ("operation", "signature_name", "reason"),
    [
        (
            classify,
            "predict_examples",
            '"predict_examples" is not one for classification.*"inputs"',
        ),
        (classify, "serving_default", "not one for classification"),
        (classify, "regress", r"outputs must be among \{classes,scores\}. It has \{outputs\}"),
        (regress, "classify", r"outputs must be among \{outputs\}. It has \{scores\}"),
        (regress, "rank", "not one for regression"),
        (regress, "guess", '"guess" was not found'),
    ],
)
def test_a_signature_for_something_else_is_refused(
    servable: Servable, examples: np.ndarray, operation, signature_name: str, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason):
        operation(servable, signature_name, examples)


def test_the_context_counts_for_every_example() -> None:
    def example(**features: int) -> tf.train.Example:
        built = tf.train.Example()
        for name, value in features.items():
            built.features.feature[name].int64_list.value.append(value)
        return built

    message = input_pb2.Input()
    message.example_list_with_context.context.CopyFrom(example(a=1, b=2))
    message.example_list_with_context.examples.extend([example(c=3), example(b=9)])
    merged = [tf.train.Example.FromString(text).features.feature for text in examples_of(message)]
    values = [
        {name: feature.int64_list.value[0] for name, feature in one.items()} for one in merged
    ]
    assert values == [{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 9}]


@pytest.mark.parametrize("message", [input_pb2.Input(), input_pb2.Input(example_list={})])
def test_an_input_without_examples_is_refused(message: input_pb2.Input) -> None:
    with pytest.raises(RequestError, match="no examples"):
        examples_of(message)
