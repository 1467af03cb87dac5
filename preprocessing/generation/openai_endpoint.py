"""Chat completions of an OpenAI-compatible endpoint."""

from __future__ import annotations

from preprocessing.generation.chat import ChatParameters, ChatRequest, ChatResponse
from preprocessing.generation.completion import response_of
from preprocessing.generation.openai_connection import OpenAIConnection


class OpenAIEndpoint:
    """An endpoint that speaks `/v1/chat/completions`; may be called by several threads.

    Args:
      base_url: its address; None for OpenAI.
      api_key: the key; None for endpoints that want none. Kept out of every message.
      parameters: model and parameters of all requests.
      timeout_seconds: of connecting, and of every wait for data.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: str | None,
        parameters: ChatParameters,
        timeout_seconds: float,
    ):
        self._parameters = parameters
        self._connection = OpenAIConnection(base_url, api_key, timeout_seconds)

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
            lambda completion: response_of(completion, estimate),
        )
