"""The chat completion object of OpenAI-compatible services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preprocessing.knowledge.answers import RejectedAnswer


@dataclass(frozen=True)
class Completion:
    """The first choice of a completion.

    Attributes:
      text: what the LLM wrote; empty when it wrote nothing.
      finish_reason: why it stopped, e.g. "stop" or "length"; "refusal" when it says so itself.
      model: the LLM, as the service names it.
      usage: tokens, as the service counted them.
    """

    text: str
    finish_reason: str | None
    model: object
    usage: object


def completion_of(body: Mapping[str, object]) -> Completion:
    """Reads a completion object.

    Raises:
      RejectedAnswer: the service reports an error, or the object has no message.
    """
    refuse_error(body)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise RejectedAnswer("missing_field", "there is no 'choices[0].message'")
    refusal = message.get("refusal")
    reason = "refusal" if refusal else choice.get("finish_reason")
    return Completion(
        text=_content(message.get("content") or refusal),
        finish_reason=reason if isinstance(reason, str) else None,
        model=body.get("model"),
        usage=body.get("usage"),
    )


def refuse_error(document: Mapping[str, object]) -> None:
    """Raises RejectedAnswer when an object of the service reports an error."""
    error = document.get("error")
    if not error:
        return
    message = error.get("message") or error.get("code") if isinstance(error, dict) else error
    raise RejectedAnswer("failed_request", f"the service reports: {message}")


def _content(content: object) -> str:
    """Text of a message: a string, or a list of parts of which those with text count."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise RejectedAnswer("wrong_type", "field 'message.content' must be a text")
    return content
