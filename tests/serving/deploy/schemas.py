"""Schemas that other people keep, applied to rendered files."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES_VERSIONS = ("1.27", "1.37")
"""The oldest release that the manifests are meant for, and the newest with a schema."""


def documents_of(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(text))


def require_kubernetes_object(document: Mapping[str, Any]) -> None:
    """Checks a manifest against Kubernetes' own schemas, which refuse unknown fields.

    Raises:
      kubernetes_validate.ValidationError: it does not fit.
    """
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(dict(document), version, strict=True)


def require_compose_file(document: Mapping[str, Any]) -> None:
    """Checks a Compose file against the Compose Specification.

    Raises:
      jsonschema.ValidationError: it does not fit.
    """
    folder = importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema, cls=jsonschema.validators.validator_for(schema))
