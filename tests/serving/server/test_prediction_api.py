from __future__ import annotations

import tracemalloc

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.server.background import Background
from serving.server.errors import RequestError
from serving.server.model_store import ModelStore
from serving.server.prediction_api import PredictionApi
from serving.server.servable import RequestLimits, Servable, classify, examples_of, regress
from serving.server.server_files import ModelSettings
from tests.serving.toy_ranker import toy_arrays, toy_base_path, toy_examples, toy_row_scores

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

CLASSIFIES = (
    'a signature that classifies has the input "inputs" and the outputs "classes", "scores" or both'
)
REGRESSES = 'a signature that regresses has the input "inputs" and the output "outputs"'
ROWS = "which should be 3 rows of classes, equally many each"


@pytest.fixture(scope="module")
def api() -> PredictionApi:
    store = ModelStore([ModelSettings("toy", toy_base_path())])
    store.start()
    return PredictionApi(store, Background())


def predict_request(signature_name: str = "", **arrays: np.ndarray) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(
        model_spec={"name": "toy", "signature_name": signature_name}
    )
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def task(signature_name: str, method_name: str, model: str = "toy") -> inference_pb2.InferenceTask:
    return inference_pb2.InferenceTask(
        model_spec={"name": model, "signature_name": signature_name}, method_name=method_name
    )


def test_predict_answers_with_plain_values_and_says_who_answered(api: PredictionApi) -> None:
    response = api.predict(predict_request(**toy_arrays()))
    assert response.model_spec.name == "toy"
    assert response.model_spec.version.value == 3
    assert response.model_spec.signature_name == "serving_default"
    np.testing.assert_allclose(response.outputs["score"].float_val, toy_row_scores(), rtol=1e-6)


def test_predict_respects_the_output_filter(api: PredictionApi) -> None:
    request = predict_request("echo", text_bytes=np.array(["a"]), numbers=np.array([[1, 2]]))
    request.output_filter.append("doubled")
    response = api.predict(request)
    assert set(response.outputs) == {"doubled"}
    assert tf.make_ndarray(response.outputs["doubled"]).tolist() == [[2, 4]]


def test_a_short_message_for_many_candidates_takes_no_memory(api: PredictionApi) -> None:
    one_user = {name: values[:1] for name, values in toy_arrays().items()}
    request = predict_request("rank", **one_user)
    request.inputs["item_id"].tensor_shape.dim[0].size = 4_000_000
    assert request.ByteSize() < 400
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="item_id: 4000000 rows or candidates") as caught:
            api.predict(request)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak_bytes < 1_000_000
    request.inputs["item_id"].tensor_shape.dim[0].size = 20_000
    assert len(api.predict(request).outputs["score"].float_val) == 20_000


@pytest.mark.parametrize("operation", ["classify", "regress", "multi_inference"])
def test_examples_beyond_the_limits_are_refused(api: PredictionApi, operation: str) -> None:
    limited = PredictionApi(api.models, Background(), RequestLimits(rows=2))
    examples = {"example_list": {"examples": toy_examples()}}
    specification = {"name": "toy", "signature_name": "classify"}
    request = {
        "classify": classification_pb2.ClassificationRequest(
            model_spec=specification, input=examples
        ),
        "regress": regression_pb2.RegressionRequest(model_spec=specification, input=examples),
        "multi_inference": inference_pb2.MultiInferenceRequest(
            tasks=[task("classify", CLASSIFY)], input=examples
        ),
    }[operation]
    with pytest.raises(RequestError, match="examples: 3 rows") as caught:
        getattr(limited, operation)(request)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_predict_refuses_a_malformed_tensor_by_name(api: PredictionApi) -> None:
    request = predict_request(**toy_arrays())
    request.inputs["user_mean_rating"].tensor_content = b"123"
    with pytest.raises(RequestError, match="tensor parsing error: user_mean_rating") as caught:
        api.predict(request)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_classify_and_regress_say_who_answered(api: PredictionApi) -> None:
    examples = {"example_list": {"examples": toy_examples()}}
    classified = api.classify(
        classification_pb2.ClassificationRequest(
            model_spec={"name": "toy", "signature_name": "classify"}, input=examples
        )
    )
    assert classified.model_spec.version.value == 3
    assert len(classified.result.classifications) == 3
    regressed = api.regress(
        regression_pb2.RegressionRequest(
            model_spec={"name": "toy", "signature_name": "regress"}, input=examples
        )
    )
    assert regressed.model_spec.signature_name == "regress"
    assert len(regressed.result.regressions) == 3


def test_multi_inference_runs_every_task(api: PredictionApi) -> None:
    response = api.multi_inference(
        inference_pb2.MultiInferenceRequest(
            tasks=[task("classify", CLASSIFY), task("regress", REGRESS)],
            input={"example_list": {"examples": toy_examples()}},
        )
    )
    classified, regressed = response.results
    assert classified.model_spec.signature_name == "classify"
    scores = [row.classes[0].score for row in classified.classification_result.classifications]
    values = [regression.value for regression in regressed.regression_result.regressions]
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)
    assert scores == values


@pytest.mark.parametrize(
    ("tasks", "code", "reason"),
    [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            [task("rank", "magic")],
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: magic",
        ),
        (
            [task("regress", REGRESS), task("regress", REGRESS)],
            grpc.StatusCode.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: regress",
        ),
        (
            [task("regress", REGRESS), task("classify", CLASSIFY, "other")],
            grpc.StatusCode.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [task("regress", REGRESS), task("classify", CLASSIFY, "")],
            grpc.StatusCode.INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
        (
            [task("regress", REGRESS, "other")],
            grpc.StatusCode.NOT_FOUND,
            r"Servable not found for request: Latest\(other\)",
        ),
        (
            [task("guess", REGRESS)],
            grpc.StatusCode.INVALID_ARGUMENT,
            "Requested signature not found in model graph: guess",
        ),
        ([task("", CLASSIFY)], grpc.StatusCode.INVALID_ARGUMENT, CLASSIFIES),
        ([task("rank", REGRESS)], grpc.StatusCode.INVALID_ARGUMENT, REGRESSES),
    ],
)
def test_wrong_tasks_are_refused(
    api: PredictionApi, tasks: list, code: grpc.StatusCode, reason: str
) -> None:
    examples = {"example_list": {"examples": toy_examples()}}
    request = inference_pb2.MultiInferenceRequest(tasks=tasks, input=examples)
    with pytest.raises(RequestError, match=reason) as caught:
        api.multi_inference(request)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "weights"], "Metadata field weights is not supported"),
    ],
)
def test_unknown_metadata_is_refused(api: PredictionApi, fields: list[str], reason: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "toy"}, metadata_field=fields
    )
    with pytest.raises(RequestError, match=reason):
        api.model_metadata(request)


def test_requests_without_a_model_are_refused(api: PredictionApi) -> None:
    for operation, request in (
        (api.model_status, get_model_status_pb2.GetModelStatusRequest()),
        (api.model_metadata, get_model_metadata_pb2.GetModelMetadataRequest()),
        (api.predict, predict_pb2.PredictRequest()),
        (api.classify, classification_pb2.ClassificationRequest()),
        (api.regress, regression_pb2.RegressionRequest()),
    ):
        with pytest.raises(RequestError) as caught:
            operation(request)
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.message == "Missing ModelSpec"


def test_inputs_that_nobody_asked_for_are_refused_before_they_are_read(api: PredictionApi) -> None:
    request = predict_request(**toy_arrays())
    # Read, each of these is an error of its own.
    for number in range(3):
        request.inputs[f"large{number}"].dtype = 9999
    with pytest.raises(RequestError, match="input size does not match signature: "):
        api.predict(request)


def test_requests_count_under_names_of_models_that_are_served(api: PredictionApi) -> None:
    assert api.counted_name(model_pb2.ModelSpec(name="toy")) == "toy"
    for name in ("other", "another", ""):
        assert api.counted_name(model_pb2.ModelSpec(name=name)) == "unknown model"


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
        (classify, "predict_examples", CLASSIFIES),
        (classify, "serving_default", CLASSIFIES),
        (classify, "regress", f"{CLASSIFIES}. This one has {{inputs}} and {{outputs}}"),
        (regress, "classify", REGRESSES),
        (regress, "classify_labelled", REGRESSES),
        (regress, "predict_examples", REGRESSES),
        (regress, "rank", REGRESSES),
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


WRONG_OUTPUTS = {
    "flat": lambda inputs: {"scores": tf.cast(tf.strings.length(inputs), tf.float32)},
    "integers": lambda inputs: {"scores": tf.strings.length(inputs)[:, tf.newaxis]},
    "numbered": lambda inputs: {"classes": tf.zeros([tf.size(inputs), 1])},
    "one_row": lambda inputs: {"scores": tf.zeros([1, 2]) * tf.cast(tf.size(inputs), tf.float32)},
    "uneven": lambda inputs: {
        "scores": tf.zeros([tf.size(inputs), 3]),
        "classes": inputs[:, tf.newaxis],
    },
    "wide": lambda inputs: {"outputs": tf.zeros([tf.size(inputs), 2])},
    "short": lambda inputs: {"outputs": tf.zeros([1]) * tf.cast(tf.size(inputs), tf.float32)},
    "no_text": lambda inputs: {"classes": tf.fill([tf.size(inputs), 1], b"\xff")},
    "whole": lambda inputs: {"outputs": tf.strings.length(inputs)},
}
"""Signature -> outputs with the right names that are wrong."""


@pytest.fixture(scope="module")
def wrong_outputs(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    folder = tmp_path_factory.mktemp("wrong") / "1"
    texts = [tf.TensorSpec([None], tf.string, name="inputs")]
    signatures = {
        name: tf.function(compute, input_signature=texts) for name, compute in WRONG_OUTPUTS.items()
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return Servable("wrong", 1, folder)


@pytest.mark.parametrize(
    ("operation", "signature_name", "message"),
    [
        (classify, "flat", f'the model gave "scores" as float [3], {ROWS}'),
        (classify, "integers", f'the model gave "scores" as int32 [3, 1], {ROWS}'),
        (classify, "numbered", f'the model gave "classes" as float [3, 1], {ROWS}'),
        (classify, "one_row", f'the model gave "scores" as float [1, 2], {ROWS}'),
        (classify, "uneven", f'the model gave "scores" as float [3, 3], {ROWS}'),
        (
            classify,
            "no_text",
            r"The class label b'\xff' is not UTF-8 text, as a classification's labels must be",
        ),
        (regress, "wide", 'the model gave "outputs" as float [3, 2], which should be 3 floats'),
        (regress, "short", 'the model gave "outputs" as float [1], which should be 3 floats'),
        (regress, "whole", 'the model gave "outputs" as int32 [3], which should be 3 floats'),
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
