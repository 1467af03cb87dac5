"""One call of an LLM: what is asked, with which parameters, and the form of structured answers."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.loading import ConfigurationError
from preprocessing.answers.completion import Usage, estimated_tokens

_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True)
class AnswerSchema:
    """The shape of structured answers.

    Attributes:
      document: the JSON schema as the file holds it.
      factors: names of its properties, in file order.
      required: factors that every answer must have; all of them if the file does not say.
      closed: True when other properties are forbidden.
    """

    document: Mapping[str, Any]
    factors: tuple[str, ...]
    required: frozenset[str]
    closed: bool

    def response_format(self) -> dict[str, Any]:
        """The request field that asks for such answers.

        `strict` is an OpenAI promise that needs a closed schema with every property required.
        """
        listed = frozenset(self.document.get("required", ()))
        strict = self.closed and listed == frozenset(self.factors)
        return {
            "type": "json_schema",
            "json_schema": {"name": "factors", "strict": strict, "schema": dict(self.document)},
        }

    def parse(self, text: str) -> dict[str, str]:
        """The factors of an answer, in schema order.

        Raises:
          SchemaMismatch: the answer is not JSON, or a factor is missing, unknown or not a text.
        """
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SchemaMismatch(f"not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise SchemaMismatch("JSON, but not an object")
        unknown = sorted(answer.keys() - set(self.factors))
        if self.closed and unknown:
            raise SchemaMismatch(f"unknown factor '{unknown[0]}'")
        found = {}
        for factor in self.factors:
            value = answer.get(factor)
            if isinstance(value, str) and value.strip() and _is_text(value):
                found[factor] = value.strip()
            elif factor in answer and not isinstance(value, str):
                raise SchemaMismatch(f"factor '{factor}' is not a text")
            elif factor in self.required:
                raise SchemaMismatch(f"factor '{factor}' is missing or empty")
        if not found:
            raise SchemaMismatch("no factor has a text")
        return found


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


_EXAMPLE = '{"type": "object", "properties": {"genre": {"type": "string"}}}'


class SchemaMismatch(Exception):
    """An answer does not have the shape that was asked for; the message says where."""


def load_answer_schema(path: str) -> AnswerSchema:
    """Reads a JSON schema file.

    Raises:
      ConfigurationError: the file is missing, not JSON, or not an object of texts.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON: {error}") from error
    properties = document.get("properties") if isinstance(document, dict) else None
    if not isinstance(properties, dict) or not properties or document.get("type") != "object":
        raise ConfigurationError(
            f"{path}: expected a JSON schema of an object with properties, e.g. {_EXAMPLE}"
        )
    for name, description in properties.items():
        if not isinstance(description, dict) or description.get("type") != "string":
            raise ConfigurationError(
                f'{path}: property \'{name}\' must be {{"type": "string"}}, one text per factor'
            )
    required = document.get("required", list(properties))
    if not isinstance(required, list) or not set(map(str, required)) <= properties.keys():
        raise ConfigurationError(f"{path}: 'required' must list names of properties")
    return AnswerSchema(
        document=document,
        factors=tuple(properties),
        required=frozenset(required),
        closed=document.get("additionalProperties") is False,
    )


def factors_as_text(factors: Mapping[str, str]) -> str:
    """One line per factor, `name: text`, for encoders that read one text per entity."""
    return "\n".join(f"{name}: {text}" for name, text in factors.items())


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
