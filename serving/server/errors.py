"""How the server says that a request cannot be answered."""

from __future__ import annotations

import grpc


class RequestError(Exception):
    """A request that cannot be answered; both transports report it.

    Attributes:
      code: TensorFlow Serving's status code for the case.
      message: what is wrong, for the caller.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class RequestTooLargeError(RequestError):
    """A request beyond one of the server's limits: RESOURCE_EXHAUSTED, and 413 over REST."""

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def invalid(message: str) -> RequestError:
    """The request contradicts what the model expects."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """The request names a model or a version that is not served."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
