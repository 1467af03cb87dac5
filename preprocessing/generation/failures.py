"""What can go wrong when an LLM is called, by what to do about it."""

from __future__ import annotations


class CallFailed(Exception):
    """A call gave no answer.

    Attributes:
      reason: a fixed name that can be counted.
      detail: what happened, without secrets.
      retries: how often the call was repeated.
    """

    retries = 0

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TransientFailure(CallFailed):
    """The same call may work later.

    Attributes:
      retry_after: seconds the endpoint asks to wait; None if it does not say.
    """

    def __init__(self, reason: str, detail: str, retry_after: float | None = None):
        super().__init__(reason, detail)
        self.retry_after = retry_after


class RequestRefused(CallFailed):
    """This request never works, others may."""


class EndpointUnusable(CallFailed):
    """No request works until a person changes something: key, model name, address, credit."""


class Interrupted(Exception):
    """The run was stopped before the call had an answer."""
