"""Chat completions of an OpenAI-compatible endpoint."""

from __future__ import annotations

import threading

from preprocessing.generation.api_key import ApiKey
from preprocessing.generation.chat import ChatParameters, ChatRequest, ChatResponse
from preprocessing.generation.completion import FAILED_REQUEST, response_of
from preprocessing.generation.failures import TransientFailure
from preprocessing.generation.openai_connection import OpenAIConnection
from preprocessing.knowledge.answers import RejectedAnswer

_MOST_RESPONSE_BYTES = 16 << 20


class OpenAIEndpoint:
    """An endpoint that speaks `/v1/chat/completions`; may be called by several threads.

    Args:
      base_url: its address; None for OpenAI.
      api_key: the key; None for endpoints that want none. Cut out of everything that comes back.
      parameters: model and parameters of all requests.
      timeout_seconds: of one call, from connecting to the last byte of the response.
      stop: when it is set, calls in flight end soon; None for never.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: ApiKey | None,
        parameters: ChatParameters,
        timeout_seconds: float,
        stop: threading.Event | None = None,
    ):
        self._parameters = parameters
        self._connection = OpenAIConnection(
            base_url, api_key, timeout_seconds, _MOST_RESPONSE_BYTES, stop
        )

    def close(self) -> None:
        """Closes all connections."""
        self._connection.close()

    def complete(self, request: ChatRequest) -> ChatResponse:
        """Calls once.

        Raises:
          CallFailed: see `OpenAIConnection.call`.
        """
        body = self._parameters.body(request.prompt)
        estimate = self._parameters.prompt_tokens_estimate(request.prompt)
        return self._connection.call(
            lambda client: client.chat.completions.with_raw_response.create(**body),
            lambda completion: _read(completion, estimate),
        )


def _read(completion: object, prompt_tokens_estimate: int) -> ChatResponse:
    try:
        return response_of(completion, prompt_tokens_estimate)
    except RejectedAnswer as error:
        failed = error.reason == FAILED_REQUEST
        raise TransientFailure(
            FAILED_REQUEST if failed else "malformed_response", error.detail
        ) from None
