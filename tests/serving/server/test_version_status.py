from __future__ import annotations

import grpc

from serving.protocol.messages import get_model_status_pb2
from serving.server.model_versions import VersionState, VersionStatus


def test_a_status_is_written_as_tensorflow_serving_does() -> None:
    response = get_model_status_pb2.GetModelStatusResponse()
    VersionStatus(7, VersionState.AVAILABLE).add_to(response)
    VersionStatus(8, VersionState.END, grpc.StatusCode.NOT_FOUND, "gone").add_to(response)
    available, ended = response.model_version_status
    # Numbers of get_model_status.proto and of google.rpc.Code.
    assert (available.version, available.state, available.status.error_code) == (7, 30, 0)
    assert (ended.version, ended.state, ended.status.error_code) == (8, 50, 5)
    assert ended.status.error_message == "gone"
