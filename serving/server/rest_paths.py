"""The URLs of TensorFlow Serving's REST API.

The patterns are those of `http_rest_api_util.cc` in https://github.com/tensorflow/serving. They
match the URL as it was sent, with its query; names are decoded afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from serving.protocol.messages import model_pb2
from serving.server.errors import invalid

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I)
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<verb>predict|classify|regress)", re.I
)
_PATTERNS = {"GET": _GET, "POST": _POST}
_MAXIMUM_VERSION = 2**63 - 1
_VERSION_DIGITS = len(str(_MAXIMUM_VERSION))


@dataclass(frozen=True)
class Target:
    """What a URL asks for.

    Attributes:
      model: name, and perhaps version or label.
      operation: `predict`, `classify`, `regress`, `status` or `metadata`.
    """

    model: model_pb2.ModelSpec
    operation: str


def is_api(url: str) -> bool:
    """Whether a URL belongs to the API at all."""
    return url.lower().startswith("/v1/")


def target_of(method: str, url: str) -> Target:
    """Reads a URL.

    Args:
      method: the HTTP method.
      url: path and query, still encoded.

    Raises:
      RequestError: INVALID_ARGUMENT; the API has no such method or URL.
    """
    pattern = _PATTERNS.get(method)
    match = pattern.fullmatch(url) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {url}")
    if match["name"] is None:
        raise invalid("Missing model name in request.")
    model = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        digits = match["version"].lstrip("0")
        if len(digits) > _VERSION_DIGITS or int(digits or 0) > _MAXIMUM_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        model.version.value = int(digits or 0)
    if match["label"]:
        model.version_label = unquote(match["label"])
    if method == "POST":
        return Target(model, match["verb"].lower())
    return Target(model, "metadata" if match["metadata"] else "status")
