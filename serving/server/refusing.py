"""Refuses new gRPC requests before the server stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

import grpc

_HEALTH = "/grpc.health.v1.Health/"


class RefusalWhileStopping(grpc.ServerInterceptor):
    """Answers UNAVAILABLE once the server is about to stop; health is still told.

    A gRPC server that stops cancels some of the requests that arrive at this moment, and callers
    rarely repeat what was CANCELLED. None of these has run, so UNAVAILABLE is the answer to give.
    """

    def __init__(self) -> None:
        self._is_stopping = threading.Event()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    def begin(self) -> None:
        """Refuses from now on."""
        self._is_stopping.set()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Passes a request on, or to the refusal."""
        if self._is_stopping.is_set() and not handler_call_details.method.startswith(_HEALTH):
            return self._refusal
        return continuation(handler_call_details)


def _refuse(request: object, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
    raise AssertionError("abort always raises")
