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


_NAMES: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT = {"type": "string", "minLength": 1}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}
_RELABELING = _object(
    "action", sourceLabels=_list(_TEXT), regex=_TEXT, action={"enum": ["keep", "drop", "replace"]}
)
_ROUTE = {
    "parentRefs": _list(_object("name", name=_TEXT, namespace=_TEXT)),
    "hostnames": _list(_TEXT),
}
_BACKENDS = _list(
    _object("name", "port", name=_TEXT, port=_PORT, weight={"type": "integer", "minimum": 0})
)
_METHOD = _object(service=_TEXT)
_PATH = _object(type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value=_TEXT)


def _route(match: dict[str, Any]) -> dict[str, Any]:
    return _object(
        "rules", **_ROUTE, rules=_list(_object(matches=_list(match), backendRefs=_BACKENDS))
    )


# Of the published definitions of Prometheus Operator 0.80 and Gateway API 1.2, the fields that are
# in use; all others are refused.
_SPECIFICATIONS = {
    ("monitoring.coreos.com/v1", "PodMonitor"): _object(
        "selector",
        "podMetricsEndpoints",
        jobLabel=_TEXT,
        podTargetLabels=_list(_TEXT),
        selector=_object("matchLabels", matchLabels=_NAMES),
        podMetricsEndpoints=_list(
            _object(
                port=_TEXT, path=_TEXT, interval=_DURATION, metricRelabelings=_list(_RELABELING)
            )
        ),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _object(
        "groups",
        groups=_list(
            _object(
                "name",
                "rules",
                name=_TEXT,
                rules=_list(
                    _object(
                        "alert",
                        "expr",
                        alert={"type": "string", "pattern": "^[A-Za-z]+$"},
                        expr=_TEXT,
                        labels=_NAMES,
                        annotations=_NAMES,
                        **{"for": _DURATION},
                    )
                ),
            )
        ),
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _route(_object("path", path=_PATH)),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): _route(_object("method", method=_METHOD)),
}


def require_custom_resource(document: Mapping[str, Any]) -> None:
    """Checks an object that Kubernetes knows only by a definition that others install.

    Raises:
      jsonschema.ValidationError: it does not fit.
      KeyError: its kind is not known here.
    """
    schema = _object(
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        apiVersion=_TEXT,
        kind=_TEXT,
        metadata=_object("name", name=_TEXT, namespace=_TEXT, labels=_NAMES),
        spec=_SPECIFICATIONS[document["apiVersion"], document["kind"]],
    )
    jsonschema.validate(document, schema)


def require_compose_file(document: Mapping[str, Any]) -> None:
    """Checks a Compose file against the Compose Specification.

    Raises:
      jsonschema.ValidationError: it does not fit.
    """
    folder = importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema, cls=jsonschema.validators.validator_for(schema))
