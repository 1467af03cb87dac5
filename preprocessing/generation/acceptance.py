"""Whether a stored answer counts, and whether asking again could help."""

from __future__ import annotations

from dataclasses import dataclass

from preprocessing.generation.answer_schema import AnswerSchema, SchemaMismatch
from preprocessing.generation.answer_store import StoredAnswer
from preprocessing.generation.completion import INVALID_TEXT, REFUSAL

TRUNCATED = "truncated"
_CONTENT_FILTER = "content_filter"
_WORTH_ANOTHER_CALL = ("blank_answer", "schema_mismatch", "invalid_text")


@dataclass(frozen=True)
class Rejection:
    """Why there is no answer.

    Attributes:
      reason: a fixed name that can be counted.
      detail: what was found.
    """

    reason: str
    detail: str


@dataclass(frozen=True)
class Acceptance:
    """The rules for answers. They judge what is stored, so new rules cost no new call.

    Attributes:
      schema: shape of structured answers; None for free text.
      keep_truncated: answers cut off at the token limit count.
      attempts_per_answer: calls for one prompt while its answer is empty or off the schema.
    """

    schema: AnswerSchema | None
    keep_truncated: bool
    attempts_per_answer: int

    def rejection(self, answer: StoredAnswer) -> Rejection | None:
        """Why an answer does not count; None if it does."""
        if answer.finish_reason == REFUSAL:
            return Rejection("refusal", answer.text)
        if answer.finish_reason == _CONTENT_FILTER:
            return Rejection("content_filter", "the endpoint's content filter cut the answer")
        if answer.finish_reason == INVALID_TEXT:
            return Rejection("invalid_text", "the answer holds half a surrogate pair")
        if is_truncated(answer) and not self.keep_truncated:
            return Rejection(
                TRUNCATED,
                f"cut off after {answer.usage.completion_tokens} tokens; raise max_tokens",
            )
        if not answer.text.strip():
            return Rejection("blank_answer", "the LLM wrote nothing")
        if self.schema is not None:
            try:
                self.schema.parse(answer.text)
            except SchemaMismatch as error:
                return Rejection("schema_mismatch", str(error))
        return None

    def needs_call(self, answer: StoredAnswer | None) -> bool:
        """True without an answer, or with a bad one while attempts are left."""
        if answer is None:
            return True
        if answer.calls >= self.attempts_per_answer:
            return False
        rejection = self.rejection(answer)
        return rejection is not None and rejection.reason in _WORTH_ANOTHER_CALL


def is_truncated(answer: StoredAnswer) -> bool:
    """True when the token limit ended the answer."""
    return answer.finish_reason == "length"
