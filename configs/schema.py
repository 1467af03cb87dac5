"""What may be written into a configuration, told from its fields: for help and for editors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from configs.effects import section_type, spelled
from configs.scenario import Scenario

Schema = Mapping[str, Any]

_KINDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "null": "null",
}
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
}


def editor_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, with which editors complete and check it.

    Where a list of names may be written as one text ("item, user"), the schema knows the list only.
    """
    schema = Scenario.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@functools.cache
def allowed_values(section: type[BaseModel] = Scenario) -> Mapping[str, str]:
    """Type, range or choices, and default of all keys of `configs.loading.described_keys`."""
    schema = section.model_json_schema()
    return _allowed(section, schema, schema.get("$defs", {}), "")


def _allowed(
    section: type[BaseModel], schema: Schema, definitions: Schema, prefix: str
) -> dict[str, str]:
    required = schema.get("required", ())
    allowed: dict[str, str] = {}
    for name, field in section.model_fields.items():
        described = schema["properties"][name]
        inner, is_map = section_type(field.annotation)
        if inner is not None:
            below = f"{prefix}{name}.<name>." if is_map else f"{prefix}{name}."
            allowed |= _allowed(inner, definitions[inner.__name__], definitions, below)
            continue
        made: object = {"object": {}, "array": []}.get(str(described.get("type")))
        default = f"default: {spelled(described.get('default', made))}"
        default = "required" if name in required else default
        allowed[f"{prefix}{name}"] = f"{values_of(described, definitions)}; {default}"
    return allowed


def choices_of_keys() -> dict[str, list[str]]:
    """Key -> its values, of those that take one of a few."""
    choices = {}
    for key, allowed in allowed_values().items():
        values = allowed.partition(";")[0].removesuffix(" or null")
        if values.startswith("one of "):
            choices[key] = values.removeprefix("one of ").split(", ")
        elif values == _KINDS["boolean"]:
            choices[key] = ["true", "false"]
    return choices


def values_of(schema: Schema, definitions: Schema | None = None) -> str:
    """What a JSON Schema allows, in words: "whole number from 1 to 9", "one of means, ridge".

    Args:
      schema: of one value.
      definitions: what its references name.
    """
    if "$ref" in schema:
        return values_of((definitions or {})[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(values_of(part, definitions) for part in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(map(spelled, schema['enum']))}"
    kind = schema.get("type")
    if kind == "array":
        parts = schema.get("prefixItems") or [schema.get("items", {})]
        each = dict.fromkeys(values_of(part, definitions) for part in parts)
        number = f"list of {len(parts)}" if "prefixItems" in schema else "list of"
        return f"{number}: {', '.join(each)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"map to {values_of(values, definitions)}" if isinstance(values, dict) else "map"
    bounds = [text.format(spelled(schema[key])) for key, text in _BOUNDS.items() if key in schema]
    return " ".join([_KINDS.get(str(kind), "any value"), *bounds])
