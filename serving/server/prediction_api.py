"""TensorFlow Serving's operations on its own request and response messages, without a transport."""

from __future__ import annotations

import grpc

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.protocol.tensors import TensorFormatError, pack_as_values, unpack
from serving.server.errors import RequestError, invalid
from serving.server.example_inference import (
    CLASSIFY_METHOD,
    REGRESS_METHOD,
    classify,
    examples_of,
    regress,
)
from serving.server.model_store import ModelStore
from serving.server.servable import DEFAULT_SIGNATURE, Servable

_SIGNATURE_FIELD = "signature_def"


class PredictionApi:
    """Answers requests from a store of models.

    Every operation raises `RequestError` with TensorFlow Serving's status code when the request
    cannot be answered.
    """

    def __init__(self, models: ModelStore):
        self.models = models

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Runs a signature on tensors."""
        servable = self.models.find(request.model_spec)
        signature_name = signature_name_of(request.model_spec)
        if not servable.has_signature(signature_name):
            message = servable.unknown_signature(signature_name)
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
        inputs = {}
        for name, message in request.inputs.items():
            try:
                inputs[name] = unpack(message)
            except TensorFormatError as error:
                raise invalid(f'Input "{name}" is not a valid tensor: {error}.') from error
        outputs = servable.run(signature_name, inputs, request.output_filter)
        response = predict_pb2.PredictResponse(model_spec=_answered_by(servable, signature_name))
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(pack_as_values(array))
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classifies tf.Examples."""
        servable = self.models.find(request.model_spec)
        signature_name = signature_name_of(request.model_spec)
        return classification_pb2.ClassificationResponse(
            model_spec=_answered_by(servable, signature_name),
            result=classify(servable, signature_name, examples_of(request.input)),
        )

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Computes one number per tf.Example."""
        servable = self.models.find(request.model_spec)
        signature_name = signature_name_of(request.model_spec)
        return regression_pb2.RegressionResponse(
            model_spec=_answered_by(servable, signature_name),
            result=regress(servable, signature_name, examples_of(request.input)),
        )

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several classifications and regressions of one model on the same tf.Examples."""
        _check_tasks(request)
        examples = examples_of(request.input)
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            servable = self.models.find(task.model_spec)
            signature_name = signature_name_of(task.model_spec)
            result = response.results.add(model_spec=_answered_by(servable, signature_name))
            if task.method_name == CLASSIFY_METHOD:
                classes = classify(servable, signature_name, examples)
                result.classification_result.CopyFrom(classes)
            else:
                result.regression_result.CopyFrom(regress(servable, signature_name, examples))
        return response

    def model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes a model's signatures."""
        if not request.HasField("model_spec"):
            raise invalid("The request has no ModelSpec.")
        if not request.metadata_field:
            raise invalid("The request must name at least one metadata_field.")
        for field in request.metadata_field:
            if field != _SIGNATURE_FIELD:
                raise invalid(
                    f'Metadata field "{field}" is not known; ask for "{_SIGNATURE_FIELD}".'
                )
        servable = self.models.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.signature_definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_answered_by(servable, "")
        )
        response.metadata[_SIGNATURE_FIELD].Pack(signatures)
        return response

    def model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says which versions of a model are available."""
        if not request.HasField("model_spec"):
            raise invalid("The request has no ModelSpec.")
        servable = self.models.find(request.model_spec)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(
            version=servable.version,
            state=get_model_status_pb2.ModelVersionStatus.AVAILABLE,
            status={},
        )
        return response


def signature_name_of(specification: model_pb2.ModelSpec) -> str:
    """The signature a request asks for; the default one if it names none."""
    return specification.signature_name or DEFAULT_SIGNATURE


def _answered_by(servable: Servable, signature_name: str) -> model_pb2.ModelSpec:
    specification = model_pb2.ModelSpec(name=servable.name, signature_name=signature_name)
    specification.version.value = servable.version
    return specification


def _check_tasks(request: inference_pb2.MultiInferenceRequest) -> None:
    names = set()
    signature_names = set()
    for task in request.tasks:
        if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED,
                f'Inference method "{task.method_name}" is not supported; use "{CLASSIFY_METHOD}" '
                f'or "{REGRESS_METHOD}".',
            )
        names.add(task.model_spec.name)
        signature_name = signature_name_of(task.model_spec)
        if signature_name in signature_names:
            raise invalid(f'Signature "{signature_name}" is asked for twice.')
        signature_names.add(signature_name)
    if not request.tasks:
        raise invalid("The request has no inference task.")
    if len(names) > 1:
        raise invalid("All tasks of a request must name the same model.")
