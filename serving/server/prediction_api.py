"""TensorFlow Serving's operations on its own request and response messages, without a transport."""

from __future__ import annotations

import grpc

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.protocol.tensors import TensorFormatError, pack_as_values, unpack
from serving.server.background import Background
from serving.server.errors import RequestError, invalid
from serving.server.model_store import ModelStore
from serving.server.servable import (
    CLASSIFY_METHOD,
    REGRESS_METHOD,
    RequestLimits,
    Servable,
    check_classification,
    check_input_names,
    check_regression,
    classify,
    regress,
    signature_name_of,
)
from serving.server.server_files import settings_of_message

SIGNATURE_FIELD = "signature_def"
UNKNOWN_MODEL = "unknown model"
"""The name under which the metrics count requests for models that are not served."""
_NO_MODEL = "Missing ModelSpec"


class PredictionApi:
    """Answers requests from a store of models.

    Every operation raises `RequestError` with TensorFlow Serving's status code when the request
    cannot be answered.
    """

    def __init__(
        self,
        models: ModelStore,
        background: Background,
        limits: RequestLimits = RequestLimits(),  # noqa: B008 (frozen)
    ):
        """Creates the API.

        Args:
          models: what is served.
          background: where a reload runs.
          limits: how much one request may ask for.
        """
        self.models = models
        self.limits = limits
        self._background = background

    def counted_name(self, specification: model_pb2.ModelSpec) -> str:
        """The model's name for the metrics, which callers must not fill with names of theirs."""
        name = specification.name
        return name if self.models.is_configured(name) else UNKNOWN_MODEL

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Runs a signature on tensors."""
        servable = self._servable(request)
        signature_name = signature_name_of(request.model_spec)
        if not servable.has_signature(signature_name):
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature_name}" not found.',
            )
        # Before the tensors are read, each of which may take more memory than it has bytes.
        expected = servable.input_specifications(signature_name)
        check_input_names(signature_name, expected.keys(), request.inputs.keys())
        self.limits.check_messages(request.inputs)
        inputs = {}
        for name, message in request.inputs.items():
            try:
                inputs[name] = unpack(message)
            except TensorFormatError as error:
                raise invalid(f"tensor parsing error: {name} ({error})") from error
        self.limits.check_arrays(inputs)
        outputs = servable.run(signature_name, inputs, request.output_filter)
        response = predict_pb2.PredictResponse(model_spec=_answered_by(servable, signature_name))
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(pack_as_values(array))
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classifies tf.Examples."""
        servable = self._servable(request)
        self.limits.check_examples(request.input)
        signature_name = signature_name_of(request.model_spec)
        return classification_pb2.ClassificationResponse(
            model_spec=_answered_by(servable, signature_name),
            result=classify(servable, signature_name, request.input),
        )

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Computes one number per tf.Example."""
        servable = self._servable(request)
        self.limits.check_examples(request.input)
        signature_name = signature_name_of(request.model_spec)
        return regression_pb2.RegressionResponse(
            model_spec=_answered_by(servable, signature_name),
            result=regress(servable, signature_name, request.input),
        )

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several classifications and regressions of one model on the same tf.Examples.

        The first task says which version answers all of them.
        """
        first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        servable = self.models.find(first)
        _check_tasks(request, servable)
        self.limits.check_examples(request.input)
        response = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            signature_name = signature_name_of(task.model_spec)
            result = response.results.add(model_spec=_answered_by(servable, signature_name))
            if task.method_name == CLASSIFY_METHOD:
                classes = classify(servable, signature_name, request.input)
                result.classification_result.CopyFrom(classes)
            else:
                values = regress(servable, signature_name, request.input)
                result.regression_result.CopyFrom(values)
        return response

    def model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes a model's signatures."""
        if not request.HasField("model_spec"):
            raise invalid(_NO_MODEL)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.models.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.signature_definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_answered_by(servable, "")
        )
        response.metadata[SIGNATURE_FIELD].Pack(signatures)
        return response

    def model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says in which state the versions of a model are."""
        if not request.HasField("model_spec"):
            raise invalid(_NO_MODEL)
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self.models.statuses(request.model_spec):
            status.add_to(response)
        return response

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the models, policies and labels; answers when the new state is reached."""
        try:
            models = settings_of_message(request.config)
        except ValueError as error:
            raise invalid(str(error)) from error
        self._background.run("reload", lambda: self.models.reload(models))
        return model_management_pb2.ReloadConfigResponse(status={})

    def _servable(
        self,
        request: predict_pb2.PredictRequest
        | classification_pb2.ClassificationRequest
        | regression_pb2.RegressionRequest,
    ) -> Servable:
        if not request.HasField("model_spec"):
            raise invalid(_NO_MODEL)
        return self.models.find(request.model_spec)


def _answered_by(servable: Servable, signature_name: str) -> model_pb2.ModelSpec:
    specification = model_pb2.ModelSpec(name=servable.name, signature_name=signature_name)
    specification.version.value = servable.version
    return specification


def _check_tasks(request: inference_pb2.MultiInferenceRequest, servable: Servable) -> None:
    model_name = request.tasks[0].model_spec.name
    signature_names = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != model_name:
            raise invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        signature_name = signature_name_of(task.model_spec)
        if signature_name in signature_names:
            raise invalid(f"Duplicate evaluation of signature: {signature_name}")
        signature_names.add(signature_name)
        if not servable.has_signature(signature_name):
            raise invalid(f"Requested signature not found in model graph: {signature_name}")
        definition = servable.signature_definitions[signature_name]
        if task.method_name == CLASSIFY_METHOD:
            check_classification(definition)
        elif task.method_name == REGRESS_METHOD:
            check_regression(definition)
        else:
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
