"""Clients that rank with a served model, over gRPC or REST, without TensorFlow.

user = UserRequest.from_history("42", ["318", "296"], [5.0, 4.5])
with RankingClient("127.0.0.1:8500", "movies") as client:
    scores = client.rank(user, ["50", "527", "858"])
"""

from __future__ import annotations

from serving.client.errors import ProfileError, RankingError, ServerUnavailable
from serving.client.grpc_client import RankingClient
from serving.client.rest_client import RestRankingClient
from serving.client.user_request import UserRequest

__all__ = [
    "ProfileError",
    "RankingClient",
    "RankingError",
    "RestRankingClient",
    "ServerUnavailable",
    "UserRequest",
]
