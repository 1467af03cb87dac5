from __future__ import annotations

import grpc
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
def examples() -> input_pb2.Input:
    return input_pb2.Input(example_list={"examples": toy_examples()})


def test_classes_carry_scores(servable: Servable, examples: input_pb2.Input) -> None:
    result = classify(servable, "classify", examples)
    scores = [[item.score for item in row.classes] for row in result.classifications]
    np.testing.assert_allclose(scores, np.reshape(toy_row_scores(), (3, 1)), rtol=1e-6)
    assert {item.label for row in result.classifications for item in row.classes} == {""}


def test_classes_carry_labels(servable: Servable) -> None:
    first = input_pb2.Input(example_list={"examples": toy_examples()[:1]})
    result = classify(servable, "classify_labelled", first)
    (row,) = result.classifications
    assert [item.label for item in row.classes] == ["disliked", "liked"]
    liked = toy_row_scores()[0]
    np.testing.assert_allclose([item.score for item in row.classes], [1 - liked, liked], rtol=1e-6)


def test_regression_gives_one_number_per_example(
    servable: Servable, examples: input_pb2.Input
) -> None:
    result = regress(servable, "regress", examples)
    values = [regression.value for regression in result.regressions]
    np.testing.assert_allclose(values, toy_row_scores(), rtol=1e-6)


@pytest.mark.parametrize(
    ("operation", "signature_name", "reason"),
    [
        (classify, "predict_examples", "No classification inputs found in SignatureDef: inputs"),
        (classify, "serving_default", "Expected one input Tensor."),
        (
            classify,
            "regress",
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores". Signature was: inputs',
        ),
        (regress, "classify", "No regression outputs found in SignatureDef: inputs"),
        (regress, "classify_labelled", "Expected one output Tensor."),
        (regress, "predict_examples", "No regression inputs found in SignatureDef: inputs"),
        (regress, "rank", "Expected one input Tensor."),
        (regress, "guess", "No signature was found with the name: guess"),
        (classify, "guess", "No signature was found with the name: guess"),
    ],
)
def test_a_signature_for_something_else_is_refused(
    servable: Servable, examples: input_pb2.Input, operation, signature_name: str, reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        operation(servable, signature_name, examples)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.message.startswith(reason)


class WrongOutputs(tf.Module):
    """Signatures with the right names and wrong outputs."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def flat(self, inputs):
        return {"scores": tf.cast(tf.strings.length(inputs), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def integers(self, inputs):
        return {"scores": tf.strings.length(inputs)[:, tf.newaxis]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def numbered(self, inputs):
        return {"classes": tf.zeros([tf.size(inputs), 1])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def one_row(self, inputs):
        return {"scores": tf.zeros([1, 2]) * tf.cast(tf.size(inputs), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def uneven(self, inputs):
        return {"scores": tf.zeros([tf.size(inputs), 3]), "classes": inputs[:, tf.newaxis]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def wide(self, inputs):
        return {"outputs": tf.zeros([tf.size(inputs), 2])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def short(self, inputs):
        return {"outputs": tf.zeros([1]) * tf.cast(tf.size(inputs), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def no_text(self, inputs):
        return {"classes": tf.fill([tf.size(inputs), 1], b"\xff")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def whole(self, inputs):
        return {"outputs": tf.strings.length(inputs)}


@pytest.fixture(scope="module")
def wrong_outputs(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    folder = tmp_path_factory.mktemp("wrong") / "1"
    model = WrongOutputs()
    names = ("flat", "integers", "numbered", "one_row", "uneven", "no_text")
    names += ("wide", "short", "whole")
    signatures = {name: getattr(model, name) for name in names}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return Servable("wrong", 1, folder)


@pytest.mark.parametrize(
    ("operation", "signature_name", "message"),
    [
        (classify, "flat", "Expected Tensor shape: [batch_size num_classes] but got [3]"),
        (classify, "integers", "Expected scores Tensor of DT_FLOAT. Got: DT_INT32"),
        (classify, "numbered", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        (classify, "one_row", "Expected scores output batch size of 3. Got: 1"),
        (
            classify,
            "uneven",
            "Tensors class and score should match in dim_size(1). Got 1 vs. 3",
        ),
        (
            classify,
            "no_text",
            r"The class label b'\xff' is not UTF-8 text, as a classification's labels must be",
        ),
        (
            regress,
            "wide",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            "but got [3,2]",
        ),
        (regress, "short", "Input batch size did not match output batch size: 3 vs. 1"),
        (regress, "whole", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    ],
)
def test_outputs_that_are_no_result_are_refused(
    wrong_outputs: Servable,
    examples: input_pb2.Input,
    operation,
    signature_name: str,
    message: str,
) -> None:
    with pytest.raises(RequestError) as caught:
        operation(wrong_outputs, signature_name, examples)
    assert caught.value.message == message


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
    with pytest.raises(RequestError, match="Input is empty."):
        examples_of(message)
