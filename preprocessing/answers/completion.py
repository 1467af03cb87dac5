"""The chat completion object of OpenAI-compatible services: the one reader of all commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from preprocessing.answers.record import RejectedAnswer

REFUSAL = "refusal"
INVALID_TEXT = "invalid_text"
FAILED_REQUEST = "failed_request"
_OK = 200
_MOST_TOKENS = 1 << 40
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Usage:
    """Tokens of a call.

    Attributes:
      prompt_tokens: read by the LLM.
      completion_tokens: written by it.
      estimated: True when the endpoint did not say and the numbers are estimates.
    """

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


@dataclass(frozen=True)
class ChatResponse:
    """What the LLM answered.

    Attributes:
      text: its answer, perhaps empty.
      finish_reason: why it ended, e.g. "stop" or "length"; None if the endpoint does not say.
      answered_by: the model's name as the endpoint reports it; None if it does not.
      usage: tokens of this call.
    """

    text: str
    finish_reason: str | None
    answered_by: str | None
    usage: Usage


_BYTES_PER_TOKEN = 4


def estimated_tokens(text: str) -> int:
    """UTF-8 bytes / 4, rounded up.

    Close to common tokenizers for English, and on the safe side for other scripts.
    """
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Completion:
    """The first choice of a completion.

    Attributes:
      text: what the LLM wrote; empty when it wrote nothing. It may hold half a surrogate pair.
      finish_reason: why it stopped, e.g. "stop" or "length"; REFUSAL when it says so itself; None
        if the service does not say.
      model: the LLM, as the service names it; None if it does not.
      usage: tokens, as the service counted them; None if it did not.
    """

    text: str
    finish_reason: str | None
    model: str | None
    usage: Mapping[str, object] | None


def completion_of(document: object) -> Completion:
    """Reads a completion object.

    A completion without choices is one in which the LLM wrote nothing: it may have cost tokens.
    Names that are no texts count as not given; a content in parts is the sum of its texts.

    Args:
      document: the parsed JSON.

    Raises:
      RejectedAnswer: the service reports an error (`FAILED_REQUEST`), or the object has another
        shape (`missing_field`, `wrong_type`).
    """
    if not isinstance(document, Mapping):
        raise RejectedAnswer("wrong_type", "a completion must be an object")
    _refuse_error(document)
    choices, usage = document.get("choices"), document.get("usage")
    if not isinstance(choices, list):
        raise RejectedAnswer("missing_field", "there is no list 'choices'")
    text, finish_reason = _read_choice(choices[0]) if choices else ("", None)
    return Completion(
        text=text,
        finish_reason=finish_reason,
        model=_name(document.get("model")),
        usage=usage if isinstance(usage, dict) else None,
    )


def completion_of_batch_line(line: Mapping[str, object]) -> Completion:
    """Reads a line of a batch output or error file.

    Raises:
      RejectedAnswer: the request failed, or there is no completion.
    """
    _refuse_error(line)
    response = line.get("response")
    if not isinstance(response, Mapping):
        raise RejectedAnswer(FAILED_REQUEST, "neither a response nor an error")
    body, status = response.get("body"), response.get("status_code")
    if isinstance(status, int) and status != _OK:
        error = _reported_error(body)
        told = "" if error is None else f": {error}"
        raise RejectedAnswer(FAILED_REQUEST, f"the service answered with status {status}{told}")
    if body is None:
        raise RejectedAnswer("missing_field", "there is no 'response.body'")
    return completion_of(body)


def response_of(completion: object, prompt_tokens_estimate: int) -> ChatResponse:
    """Reads a completion object into a response that can be stored.

    Args:
      completion: the parsed JSON.
      prompt_tokens_estimate: used when the object does not count tokens.

    Raises:
      RejectedAnswer: see `completion_of`.
    """
    return stored_form(completion_of(completion), prompt_tokens_estimate)


def stored_form(completion: Completion, prompt_tokens_estimate: int) -> ChatResponse:
    """A completion as a response: a text that is none of Unicode is escaped, and marked."""
    text = completion.text.encode("utf-8", "backslashreplace").decode()
    broken = text != completion.text and completion.finish_reason != REFUSAL
    estimate = Usage(prompt_tokens_estimate, estimated_tokens(text), estimated=True)
    return ChatResponse(
        text=text,
        finish_reason=INVALID_TEXT if broken else completion.finish_reason,
        answered_by=completion.model,
        usage=counted_usage(completion.usage) or estimate,
    )


def counted_usage(usage: object) -> Usage | None:
    """Reads the object `usage` of a completion or an answer; None if it does not count tokens."""
    if not isinstance(usage, Mapping):
        return None
    prompt_tokens, completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not _is_count(prompt_tokens) or not _is_count(completion_tokens):
        return None
    return Usage(prompt_tokens, completion_tokens, usage.get("estimated") is True)


def _refuse_error(document: Mapping[str, object]) -> None:
    error = _reported_error(document)
    if error is not None:
        raise RejectedAnswer(FAILED_REQUEST, f"the service reports: {error}")


def _reported_error(document: object) -> str | None:
    """What an object of the service says about an error; None if it reports none."""
    error = document.get("error") if isinstance(document, Mapping) else None
    if not error:
        return None
    return str(error.get("message") or error.get("code") if isinstance(error, Mapping) else error)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _MOST_TOKENS


def _read_choice(choice: object) -> tuple[str, str | None]:
    """Text and finish reason."""
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise RejectedAnswer("missing_field", "there is no 'choices[0].message'")
    content, refusal = message.get("content"), message.get("refusal")
    text = _joined_parts(content, "text")
    if not isinstance(refusal, str) or not refusal.strip():
        refusal = _joined_parts(content, "refusal") if isinstance(content, list) else ""
    if refusal.strip():
        return text if text.strip() else refusal, REFUSAL
    return text, _name(choice.get("finish_reason"))


def _joined_parts(content: object, kind: str) -> str:
    """Content as a text: a string, or a list of parts of which those with a field `kind` count."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get(kind) for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise RejectedAnswer("wrong_type", "field 'message.content' must be a text")
    return content


def _name(value: object) -> str | None:
    """A short text that can be stored; None for everything else."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value[:_LONGEST_NAME].encode("utf-8", "backslashreplace").decode()
