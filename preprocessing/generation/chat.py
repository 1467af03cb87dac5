"""One call of an LLM: what is asked, with which parameters, and what comes back."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from preprocessing.generation.answer_schema import AnswerSchema
from preprocessing.prompting.token_costs import estimated_tokens

_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True)
class ChatParameters:
    """Everything besides the prompt that decides what the LLM answers.

    Attributes:
      model: the LLM's name at the endpoint.
      system_prompt: sent before the prompt; None for none.
      temperature: None leaves it to the endpoint.
      max_tokens: upper bound of an answer, in tokens.
      token_limit_parameter: what the endpoint calls that bound.
      schema: asks for a JSON object of this shape; None asks for free text.
    """

    model: str
    system_prompt: str | None
    temperature: float | None
    max_tokens: int
    token_limit_parameter: str
    schema: AnswerSchema | None

    def body(self, prompt: str) -> dict[str, Any]:
        """The request body of `/v1/chat/completions`."""
        messages = [{"role": "user", "content": prompt}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            self.token_limit_parameter: self.max_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.schema is not None:
            body["response_format"] = self.schema.response_format()
        return body

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of everything but the model's name."""
        body = self.body("")
        del body["model"]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def prompt_tokens_estimate(self, prompt: str) -> int:
        """Tokens of the messages; see `preprocessing.prompting.token_costs`."""
        texts = [prompt] if self.system_prompt is None else [self.system_prompt, prompt]
        return sum(estimated_tokens(text) + _TOKENS_PER_MESSAGE for text in texts)

    def most_usage(self, prompt: str) -> Usage:
        """The most tokens that a call may spend."""
        return Usage(self.prompt_tokens_estimate(prompt), self.max_tokens, estimated=True)


@dataclass(frozen=True)
class ChatRequest:
    """A prompt that needs an answer.

    Attributes:
      prompt: what the LLM is asked.
      prompt_sha256: SHA-256 of its UTF-8 bytes; the request's name.
    """

    prompt: str
    prompt_sha256: str


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
