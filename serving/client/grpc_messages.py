"""Questions as TensorFlow Serving's gRPC messages, and what its answers say."""

from __future__ import annotations

from typing import Any

import grpc

from serving.client.address import ModelAddress
from serving.client.answers import (
    Arrays,
    Reply,
    highest_available,
    no_signature,
    unusable_answer,
)
from serving.client.errors import RankingError, ServerUnavailable
from serving.client.model_inputs import InputKind
from serving.client.questions import Question
from serving.protocol.messages import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    types_pb2,
)
from serving.protocol.tensors import TensorFormatError, pack, unpack

_SIGNATURES = "signature_def"
_KINDS = {types_pb2.DT_STRING: InputKind.STRINGS, types_pb2.DT_INT64: InputKind.INTEGERS}


def predict_request(
    address: ModelAddress, question: Question[Any], inputs: Arrays
) -> predict_pb2.PredictRequest:
    """A question with its tensors."""
    request = predict_pb2.PredictRequest(
        model_spec=_specification(address, question.signature_name),
        output_filter=[] if question.all_outputs else question.outputs,
    )
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(pack(array))
    return request


def metadata_request(address: ModelAddress) -> get_model_metadata_pb2.GetModelMetadataRequest:
    """Asks what the model's signatures are, and which version a label names."""
    return get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=_specification(address), metadata_field=[_SIGNATURES]
    )


def status_request(address: ModelAddress) -> get_model_status_pb2.GetModelStatusRequest:
    """Asks which versions there are. TensorFlow Serving does not look at a label here."""
    return get_model_status_pb2.GetModelStatusRequest(model_spec=_specification(address))


def explained(error: grpc.RpcError, address: ModelAddress, timeout_seconds: float) -> RankingError:
    """A failed call in words.

    Args:
      error: what the call raised.
      address: what was asked.
      timeout_seconds: the deadline it had.
    """
    code, target = error.code(), address.target
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnavailable(f"no server takes requests at {target} ({error.details()})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RankingError(code.name, f"{target} did not answer within {timeout_seconds:g} s")
    return RankingError(code.name, f"{target} refused the request: {error.details()}")


def available_version_of(
    response: get_model_status_pb2.GetModelStatusResponse, address: ModelAddress
) -> int:
    """The highest version that is available.

    Raises:
      RankingError: NOT_FOUND; none is.
    """
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    versions = [
        status.version for status in response.model_version_status if status.state == available
    ]
    return highest_available(versions, address)


def described_version_of(response: get_model_metadata_pb2.GetModelMetadataResponse) -> int:
    """The version that metadata describe: the one that the request's label names.

    Raises:
      RankingError: INTERNAL; the answer does not tell.
    """
    if not response.model_spec.HasField("version"):
        raise unusable_answer("it does not tell the version")
    return response.model_spec.version.value


def reply_of(question: Question[Any], response: predict_pb2.PredictResponse) -> Reply:
    """The outputs of an answer, and the version that gave it.

    Raises:
      RankingError: INTERNAL; an output is missing or unreadable.
    """
    for name in question.outputs:
        if name not in response.outputs:
            raise unusable_answer(f"it has no output '{name}'")
    try:
        outputs = {name: unpack(tensor) for name, tensor in response.outputs.items()}
    except TensorFormatError as error:
        raise unusable_answer(str(error)) from error
    specification = response.model_spec
    version = specification.version.value if specification.HasField("version") else None
    return Reply(outputs, version)


def input_kinds_of(
    response: get_model_metadata_pb2.GetModelMetadataResponse, signature_name: str
) -> dict[str, InputKind]:
    """Input of a signature -> kind of its values.

    Raises:
      RankingError: FAILED_PRECONDITION; the model has no such signature.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[_SIGNATURES].Unpack(signatures)
    if signature_name not in signatures.signature_def:
        raise no_signature(signature_name)
    return {
        name: _KINDS.get(tensor.dtype, InputKind.NUMBERS)
        for name, tensor in signatures.signature_def[signature_name].inputs.items()
    }


def _specification(address: ModelAddress, signature_name: str = "") -> model_pb2.ModelSpec:
    specification = model_pb2.ModelSpec(name=address.model_name, signature_name=signature_name)
    if address.model_version is not None:
        specification.version.value = address.model_version
    if address.version_label is not None:
        specification.version_label = address.version_label
    return specification
