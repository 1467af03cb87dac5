"""What can go wrong when a client asks a server, and which model of which server it asks."""

from __future__ import annotations

import dataclasses


class RankingError(Exception):
    """The server refused a request, did not answer in time, or answered something unusable.

    Attributes:
      code: a gRPC status name such as `NOT_FOUND`, also over REST.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class ServerUnavailable(RankingError):
    """There is no server, or it takes no requests right now; trying again may help."""

    def __init__(self, message: str):
        super().__init__("UNAVAILABLE", message)


class ProfileError(RankingError):
    """The user's profile does not fit what the model reads.

    Attributes:
      attribute: the attribute that does not fit.
      reason: what is wrong with it, and what the model reads.
    """

    def __init__(self, attribute: str, reason: str):
        super().__init__("INVALID_ARGUMENT", f"profile attribute '{attribute}' {reason}")
        self.attribute = attribute
        self.reason = reason


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
