"""Which model of which server a client asks."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ModelAddress:
    """A model on a server.

    Attributes:
      target: `host:port`, or a URL for REST.
      model_name: the model's name there.
      model_version: the version to ask for, if not None.
      version_label: the label of the version to ask for, if not None.
    """

    target: str
    model_name: str
    model_version: int | None = None
    version_label: str | None = None

    def __post_init__(self) -> None:
        if self.model_version is not None and self.version_label is not None:
            raise ValueError(
                "ask for a version by model_version or by version_label, not both. Received: "
                f"{self.model_version} and {self.version_label!r}"
            )
