"""What can go wrong when a client asks a server."""

from __future__ import annotations


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
