"""Names for versions, such as "stable", that requests can ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import grpc

from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings

Labels = Mapping[str, Mapping[str, int]]
"""Model name -> label -> version."""


def checked_labels(
    models: Collection[ModelSettings],
    available: Mapping[str, Collection[int]],
    current: Labels,
    allow_unavailable: bool,
) -> Labels:
    """The labels that models ask for, when TensorFlow Serving's rules allow them.

    Args:
      models: with the labels that are asked for.
      available: model name -> versions that can be asked.
      current: the labels until now.
      allow_unavailable: whether a label that is new, or stays where it is, may name a version that
        is not available. A label in use never moves to such a version.

    Raises:
      RequestError: FAILED_PRECONDITION; a label names a version that is not available.
    """
    for model in models:
        for label, version in model.labels.items():
            moves = current.get(model.name, {}).get(label, version) != version
            if version in available.get(model.name, ()) or (allow_unavailable and not moves):
                continue
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {model.name}, "
                "which is not currently available for inference",
            )
    return {model.name: dict(model.labels) for model in models}
