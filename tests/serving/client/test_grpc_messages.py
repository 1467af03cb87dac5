from __future__ import annotations

import grpc
import pytest

from serving.client.errors import ModelAddress, RankingError, ServerUnavailable
from serving.client.grpc_client import (
    available_version_of,
    described_version_of,
    explained,
    input_kinds_of,
    metadata_request,
    status_request,
)
from serving.client.inputs import InputKind
from serving.protocol.messages import get_model_metadata_pb2, get_model_status_pb2, types_pb2

ADDRESS = ModelAddress("h:1", "movies", None, "stable")


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode):
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "by design"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, r"no server takes requests at h:1 \(by design\)"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, r"h:1 did not answer within 1\.5 s"),
        (grpc.StatusCode.NOT_FOUND, "h:1 refused the request: by design"),
    ],
)
def test_failures_keep_their_code(code: grpc.StatusCode, message: str) -> None:
    error = explained(Failed(code), ADDRESS, 1.5)
    with pytest.raises(RankingError, match=message):
        raise error
    assert error.code == code.name
    assert isinstance(error, ServerUnavailable) == (code is grpc.StatusCode.UNAVAILABLE)


def test_every_request_names_the_label() -> None:
    for request in (metadata_request(ADDRESS), status_request(ADDRESS)):
        assert request.model_spec.name == "movies"
        assert request.model_spec.version_label == "stable"


def test_the_highest_available_version_counts() -> None:
    states = get_model_status_pb2.ModelVersionStatus
    response = get_model_status_pb2.GetModelStatusResponse()
    with pytest.raises(RankingError, match="'movies' has no available version"):
        available_version_of(response, ADDRESS)
    for version, state in ((4, states.AVAILABLE), (11, states.AVAILABLE), (12, states.LOADING)):
        response.model_version_status.add(version=version, state=state)
    assert available_version_of(response, ADDRESS) == 11


def test_metadata_tell_the_version_that_they_describe() -> None:
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with pytest.raises(RankingError, match="does not tell the version"):
        described_version_of(response)
    response.model_spec.version.value = 0
    assert described_version_of(response) == 0


def test_kinds_of_inputs_are_told_apart() -> None:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    inputs = signatures.signature_def["rank"].inputs
    for name, number in (("a", types_pb2.DT_STRING), ("b", types_pb2.DT_INT64)):
        inputs[name].dtype = number
    inputs["c"].dtype = types_pb2.DT_FLOAT
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    assert input_kinds_of(response, "rank") == {
        "a": InputKind.STRINGS,
        "b": InputKind.INTEGERS,
        "c": InputKind.NUMBERS,
    }
    with pytest.raises(RankingError, match="'top_k' was not found") as caught:
        input_kinds_of(response, "top_k")
    assert caught.value.code == "FAILED_PRECONDITION"
