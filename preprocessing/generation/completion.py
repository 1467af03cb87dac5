"""Chat completion objects, as endpoints return them and batch result files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from preprocessing.generation.chat import ChatResponse, Usage
from preprocessing.prompting.token_costs import estimated_tokens

REFUSAL = "refusal"
INVALID_TEXT = "invalid_text"
_MOST_TOKENS = 1 << 40


class MalformedCompletion(ValueError):
    """An object is not a chat completion; the message says why."""


def response_of(completion: object, prompt_tokens_estimate: int) -> ChatResponse:
    """Reads a chat completion object.

    A completion without choices counts as an empty answer, because it may have cost tokens.

    Args:
      completion: the parsed JSON.
      prompt_tokens_estimate: used when the object does not count tokens.

    Raises:
      MalformedCompletion: the object has another shape.
    """
    if not isinstance(completion, Mapping) or not isinstance(completion.get("choices"), list):
        raise MalformedCompletion("no chat completion object: there is no list 'choices'")
    text, finish_reason = "", None
    if completion["choices"]:
        text, finish_reason = _read_choice(completion["choices"][0])
    model = completion.get("model")
    return ChatResponse(
        text=text,
        finish_reason=finish_reason,
        answered_by=model if isinstance(model, str) else None,
        usage=_read_usage(completion.get("usage"), prompt_tokens_estimate, text),
    )


def counted_usage(usage: object) -> Usage | None:
    """Reads the object `usage` of a completion or an answer; None if it does not count tokens."""
    if not isinstance(usage, Mapping):
        return None
    prompt_tokens, completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not _is_count(prompt_tokens) or not _is_count(completion_tokens):
        return None
    return Usage(prompt_tokens, completion_tokens, usage.get("estimated") is True)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _MOST_TOKENS


def _read_choice(choice: object) -> tuple[str, str | None]:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise MalformedCompletion("the first choice has no 'message'")
    content, finish_reason = message.get("content"), choice.get("finish_reason")
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise MalformedCompletion("the message's 'content' is not a text")
    if isinstance(message.get("refusal"), str) and not content:
        return message["refusal"].encode("utf-8", "replace").decode(), REFUSAL
    try:
        content.encode()
    except UnicodeEncodeError:
        return content.encode("utf-8", "backslashreplace").decode(), INVALID_TEXT
    return content, finish_reason if isinstance(finish_reason, str) else None


def _read_usage(usage: object, prompt_tokens_estimate: int, text: str) -> Usage:
    counted = counted_usage(usage)
    return counted or Usage(prompt_tokens_estimate, estimated_tokens(text), estimated=True)
