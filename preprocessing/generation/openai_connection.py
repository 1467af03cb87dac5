"""Calls of an OpenAI-compatible endpoint through the openai package, and what can go wrong."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import openai

from preprocessing.generation.failures import (
    CallFailed,
    EndpointUnusable,
    RequestRefused,
    TransientFailure,
)

_OPENAI_URL = "https://api.openai.com/v1"
_NO_KEY = "none"
_NEEDS_A_PERSON = {
    401: "the key is wrong or missing",
    403: "the key does not allow this model",
    404: "there is no such model or address",
}
_REQUEST_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500

Result = TypeVar("Result")


class OpenAIConnection:
    """An endpoint; may be called by several threads. Calls once, never again by itself.

    Args:
      base_url: its address; None for OpenAI.
      api_key: the key; None for endpoints that want none. Kept out of every message.
      timeout_seconds: of connecting, and of every wait for data.
    """

    def __init__(self, base_url: str | None, api_key: str | None, timeout_seconds: float):
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._client = openai.OpenAI(
            base_url=base_url or _OPENAI_URL,
            api_key=api_key or _NO_KEY,
            timeout=timeout_seconds,
            max_retries=0,
        )

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()

    def call(
        self, send: Callable[[openai.OpenAI], Any], read: Callable[[object], Result]
    ) -> Result:
        """Calls once.

        Args:
          send: makes the call with a raw response.
          read: takes the parsed JSON; raises ValueError when it is not what was asked for.

        Returns:
          What `read` made of it.

        Raises:
          TransientFailure: 408, 429, 5xx, a timeout, a lost connection or an unreadable response.
          RequestRefused: another 4xx.
          EndpointUnusable: 401, 403, 404, or no credit left.
        """
        try:
            raw = send(self._client)
            return read(json.loads(raw.http_response.text))
        except openai.APITimeoutError as error:
            raise TransientFailure(
                "timeout", f"no response within {self._timeout_seconds:g} s"
            ) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise TransientFailure("connection_failed", self._without_key(str(cause))) from error
        except openai.APIStatusError as error:
            raise self._failure_of(error) from error
        except (ValueError, RecursionError, openai.APIError) as error:
            raise TransientFailure("malformed_response", self._without_key(str(error))) from error

    def _failure_of(self, error: openai.APIStatusError) -> CallFailed:
        status = error.status_code
        detail = self._without_key(f"HTTP {status}: {error.message}")
        if status in _NEEDS_A_PERSON:
            return EndpointUnusable(f"http_{status}", f"{_NEEDS_A_PERSON[status]} ({detail})")
        if error.code == "insufficient_quota":
            return EndpointUnusable("no_credit", detail)
        retry_after = seconds_of(error.response.headers.get("retry-after"))
        if status == _TOO_MANY_REQUESTS:
            return TransientFailure("rate_limited", detail, retry_after)
        if status == _REQUEST_TIMEOUT or status >= _FIRST_SERVER_ERROR:
            return TransientFailure("server_error", detail, retry_after)
        return RequestRefused(f"http_{status}", detail)

    def _without_key(self, text: str) -> str:
        return text.replace(self._api_key, "[key]") if self._api_key else text


def seconds_of(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = moment.timestamp() - time.time()
    return seconds if 0 <= seconds < float("inf") else None
