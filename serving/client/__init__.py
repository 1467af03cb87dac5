"""Clients that rank with a served model, over gRPC or REST, without TensorFlow.

user = UserRequest.from_history("42", ["318", "296"], [5.0, 4.5])
with RankingClient("127.0.0.1:8500", "movies", version_label="stable") as client:
    scores = client.rank(user, ["50", "527", "858"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.client.connection import Connection, Tls
from serving.client.errors import ProfileError, RankingError, ServerUnavailable
from serving.client.grpc_client import AsyncRankingClient, RankingClient
from serving.client.inputs import UserRequest
from serving.client.responses import RankingAnswer, RetrievedItems
from serving.client.retries import Hedging

if TYPE_CHECKING:
    from serving.client.rest_client import RestRankingClient

__all__ = [
    "AsyncRankingClient",
    "Connection",
    "Hedging",
    "ProfileError",
    "RankingAnswer",
    "RankingClient",
    "RankingError",
    "RestRankingClient",
    "RetrievedItems",
    "ServerUnavailable",
    "Tls",
    "UserRequest",
]


def __getattr__(name: str) -> object:
    """The REST client, when it is first used: its HTTP library takes as long as all the rest."""
    if name != "RestRankingClient":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from serving.client.rest_client import RestRankingClient

    return RestRankingClient
