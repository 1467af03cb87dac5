"""Structured answers: a JSON object with one text per factor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.loading import ConfigurationError

_EXAMPLE = '{"type": "object", "properties": {"genre": {"type": "string"}}}'


class SchemaMismatch(Exception):
    """An answer does not have the shape that was asked for; the message says where."""


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
