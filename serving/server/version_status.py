"""Where a version of a model is in its life."""

from __future__ import annotations

import dataclasses
import enum

import grpc

from serving.protocol.messages import get_model_status_pb2

_Message = get_model_status_pb2.ModelVersionStatus


class VersionState(enum.Enum):
    """TensorFlow Serving's states, with its numbers."""

    START = _Message.START
    LOADING = _Message.LOADING
    AVAILABLE = _Message.AVAILABLE
    UNLOADING = _Message.UNLOADING
    END = _Message.END


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version's state, and the error that ended it.

    Attributes:
      version: the folder's number.
      state: START found, LOADING, AVAILABLE, UNLOADING (no new requests), END (unloaded or failed).
      code: OK unless loading failed.
      message: what failed.
    """

    version: int
    state: VersionState
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""

    def add_to(self, response: get_model_status_pb2.GetModelStatusResponse) -> None:
        """Adds the version to a response."""
        response.model_version_status.add(
            version=self.version,
            state=self.state.value,
            status={"error_code": self.code.value[0], "error_message": self.message},
        )
