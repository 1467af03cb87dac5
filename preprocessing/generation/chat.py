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
from preprocessing.answers.record import RejectedAnswer, check_storable, json_value

_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True)
class AnswerSchema:
    """The shape of structured answers.

    Attributes:
      document: the JSON schema as it is written.
      factors: names of its properties, in order.
      required: factors that every answer must have; all of them if the schema does not say.
      closed: True when other properties are forbidden.
      lists: factors that are lists of names.
      member_lists: factors that are objects with a list of names for each member of a group.
    """

    document: Mapping[str, Any]
    factors: tuple[str, ...]
    required: frozenset[str]
    closed: bool
    lists: frozenset[str] = frozenset()
    member_lists: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Factors that are no texts."""
        return tuple(factor for factor in self.factors if factor in self.lists | self.member_lists)

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

    def parse(self, text: str) -> dict[str, Any]:
        """The factors of an answer, in schema order: texts, and names as they are listed.

        Members of a group may be left out, and a list may be empty beside another that is not.

        Raises:
          SchemaMismatch: the answer is not JSON, or a factor is missing, unknown or of another
            shape.
        """
        try:
            answer = json_value(text)
        except ValueError as error:
            raise SchemaMismatch(f"not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise SchemaMismatch("JSON, but not an object")
        unknown = sorted(answer.keys() - set(self.factors))
        if self.closed and unknown:
            raise SchemaMismatch(f"unknown factor '{unknown[0]}'")
        parsed: dict[str, Any] = {}
        for factor in self.factors:
            value = answer.get(factor)
            if factor in self.names:
                if factor in answer:
                    parsed[factor] = self._names_in(factor, value)
                elif factor in self.required:
                    raise SchemaMismatch(f"factor '{factor}' is missing")
            elif isinstance(value, str) and value.strip() and _is_text(value):
                parsed[factor] = value.strip()
            elif factor in answer and not isinstance(value, str):
                raise SchemaMismatch(f"factor '{factor}' is not a text")
            elif factor in self.required:
                raise SchemaMismatch(f"factor '{factor}' is missing or empty")
        if not parsed:
            raise SchemaMismatch("no factor has a text")
        if self.names and not any(_has_name(parsed.get(factor)) for factor in self.names):
            raise SchemaMismatch("no list has a name")
        return parsed

    def _names_in(self, factor: str, value: object) -> object:
        """A list of names, or lists by member."""
        if factor in self.member_lists:
            is_right = isinstance(value, dict) and all(isinstance(v, list) for v in value.values())
            shape = "no object with a list of names for each number"
        else:
            is_right, shape = isinstance(value, list), "no list of names"
        if not is_right:
            raise SchemaMismatch(f"factor '{factor}' is {shape}")
        try:
            check_storable({factor: value}, factor)
        except RejectedAnswer as error:
            raise SchemaMismatch(error.detail) from error
        return value


@dataclass(frozen=True)
class ChatParameters:
    """Everything besides the prompt that decides what the LLM answers.

    Attributes:
      model: the LLM's name at the endpoint.
      system_prompt: sent before the prompt; None for none.
      temperature: None leaves it to the endpoint.
      max_tokens: upper bound of an answer, in tokens.
      token_limit_parameter: what the endpoint calls that bound.
      schema: asks for a JSON object of this shape, unless a prompt has a schema of its own; None
        asks for free text.
      sends_schema: whether the endpoint is told the schema.
    """

    model: str
    system_prompt: str | None
    temperature: float | None
    max_tokens: int
    token_limit_parameter: str
    schema: AnswerSchema | None
    sends_schema: bool = True

    def body(self, prompt: str, schema: AnswerSchema | None = None) -> dict[str, Any]:
        """The request body of `/v1/chat/completions`.

        Args:
          prompt: the text.
          schema: that of the prompt; None if it has none of its own.
        """
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
        if (sent := self.sent_schema(schema)) is not None:
            body["response_format"] = sent.response_format()
        return body

    def sent_schema(self, schema: AnswerSchema | None) -> AnswerSchema | None:
        """The schema that the endpoint is told; None for none."""
        return (schema or self.schema) if self.sends_schema else None

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

    def most_usage(self, request: ChatRequest) -> Usage:
        """The most tokens that a call may spend.

        Those of the messages and the schema, estimated, and of the longest answer.
        """
        prompt = self.prompt_tokens_estimate(request.prompt)
        if (sent := self.sent_schema(request.schema)) is not None:
            prompt += estimated_tokens(json.dumps(sent.response_format()))
        return Usage(prompt, self.max_tokens, estimated=True)


@dataclass(frozen=True)
class ChatRequest:
    """A prompt that needs an answer.

    Attributes:
      prompt: what the LLM is asked.
      prompt_sha256: SHA-256 of its UTF-8 bytes; the request's name. The text of a prompt with a
        schema names the form as well, so the hash stands for both.
      schema: shape of the answer; None if the prompt does not say.
    """

    prompt: str
    prompt_sha256: str
    schema: AnswerSchema | None = None


_EXAMPLE = '{"type": "object", "properties": {"genre": {"type": "string"}}}'


class SchemaMismatch(Exception):
    """An answer does not have the shape that was asked for; the message says where."""


def load_answer_schema(path: str) -> AnswerSchema:
    """Reads a JSON schema file.

    Raises:
      ConfigurationError: the file is missing, not JSON, or no schema of `answer_schema`.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: not valid JSON: {error}") from error
    try:
        return answer_schema(document)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def answer_schema(document: object) -> AnswerSchema:
    """The shape that a JSON schema describes.

    Raises:
      ValueError: it is not that of an object of texts and lists of texts.
    """
    properties = document.get("properties") if isinstance(document, dict) else None
    if (
        not isinstance(document, dict)
        or not isinstance(properties, dict)
        or not properties
        or document.get("type") != "object"
    ):
        raise ValueError(f"expected a JSON schema of an object with properties, e.g. {_EXAMPLE}")
    shapes = {name: _shape_of(description) for name, description in properties.items()}
    wrong = next((name for name, shape in shapes.items() if shape is None), None)
    if wrong is not None:
        raise ValueError(
            f'property \'{wrong}\' must be {{"type": "string"}}, one text per factor, or '
            '{"type": "array", "items": {"type": "string"}}, a list of names'
        )
    required = document.get("required", list(properties))
    if not isinstance(required, list) or not set(map(str, required)) <= properties.keys():
        raise ValueError("'required' must list names of properties")
    return AnswerSchema(
        document=document,
        factors=tuple(properties),
        required=frozenset(required),
        closed=document.get("additionalProperties") is False,
        lists=frozenset(name for name, shape in shapes.items() if shape == _LIST),
        member_lists=frozenset(name for name, shape in shapes.items() if shape == _MEMBER_LISTS),
    )


_TEXT, _LIST, _MEMBER_LISTS = "text", "list", "lists of members"


def _shape_of(description: object) -> str | None:
    """Type of a schema's property; None if it is not supported."""
    if not isinstance(description, dict):
        return None
    items, members = description.get("items"), description.get("properties")
    match description.get("type"):
        case "string":
            return _TEXT
        case "array" if isinstance(items, dict) and items.get("type") == "string":
            return _LIST
        case "object" if isinstance(members, dict) and members:
            shapes = {_shape_of(member) for member in members.values()}
            return _MEMBER_LISTS if shapes == {_LIST} else None
        case _:
            return None


def factors_as_text(factors: Mapping[str, str]) -> str:
    """One line per factor, `name: text`, for encoders that read one text per entity."""
    return "\n".join(f"{name}: {text}" for name, text in factors.items())


def _has_name(value: object) -> bool:
    """Whether a list of names, or one of the lists of a group's members, is not empty."""
    return any(value.values()) if isinstance(value, dict) else bool(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
