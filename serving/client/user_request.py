"""A user as the model sees one, and the tensors of a ranking request."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving.client.profile_inputs import ProfileKinds, ProfileValue, profile_inputs

_STATISTICS = ("user_share_liked", "user_mean_rating", "user_log_count")
# What the model reads as "no interaction"; a history must have at least one column.
_NO_ITEM = ""


@dataclasses.dataclass(frozen=True)
class UserRequest:
    """The user's side of a ranking request: raw ids and numbers only.

    Attributes:
      user_id: raw id; unknown ones are allowed.
      history_item_id: rated items, newest last.
      history_rating: their ratings.
      user_share_liked: share of the user's ratings that were positive.
      user_mean_rating: mean of the user's ratings.
      user_log_count: log(1 + number of the user's ratings).
      profile: attributes of the user that the model reads, each a number, a string or several
        strings; what is left out or None is not known.
    """

    user_id: str
    history_item_id: Sequence[str]
    history_rating: Sequence[float]
    user_share_liked: float
    user_mean_rating: float
    user_log_count: float
    profile: Mapping[str, ProfileValue] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.history_item_id) != len(self.history_rating):
            raise ValueError(
                "history_item_id and history_rating must have the same length. Received: "
                f"{len(self.history_item_id)} and {len(self.history_rating)}"
            )

    @classmethod
    def from_history(
        cls,
        user_id: str,
        history_item_id: Sequence[str],
        history_rating: Sequence[float],
        positive_rating: float = 4.0,
        profile: Mapping[str, ProfileValue] | None = None,
    ) -> UserRequest:
        """Computes the statistics from the given history; all are 0 when it is empty.

        Args:
          user_id: raw id.
          history_item_id: rated items, newest last.
          history_rating: their ratings.
          positive_rating: a rating of at least this counts as positive.
          profile: see the class.
        """
        statistics = history_statistics(history_rating, positive_rating)
        return cls(user_id, history_item_id, history_rating, **statistics, profile=profile or {})


def history_statistics(
    history_rating: Sequence[float], positive_rating: float = 4.0
) -> dict[str, float]:
    """The running user statistics after the given ratings; all are 0 when there are none."""
    count = len(history_rating)
    if not count:
        return dict.fromkeys(_STATISTICS, 0.0)
    return {
        "user_share_liked": sum(rating >= positive_rating for rating in history_rating) / count,
        "user_mean_rating": math.fsum(history_rating) / count,
        "user_log_count": math.log1p(count),
    }


def rank_inputs(
    user: UserRequest, candidates: Sequence[str], profile: ProfileKinds | None = None
) -> dict[str, np.ndarray]:
    """Inputs of the signature `rank`: the user once, and the candidates, [candidates].

    Args:
      user: who asks.
      candidates: raw item ids.
      profile: see `user_inputs`.
    """
    return {**user_inputs([user], profile), "item_id": _strings(candidates)}


def row_inputs(
    users: Sequence[UserRequest], items: Sequence[str], profile: ProfileKinds | None = None
) -> dict[str, np.ndarray]:
    """Inputs of the signature `serving_default`: aligned rows of a user and an item, [rows].

    Args:
      users: one per row.
      items: raw item ids, one per row.
      profile: see `user_inputs`.

    Raises:
      ValueError: there are not as many users as items.
    """
    if len(users) != len(items):
        raise ValueError(
            f"rows need a user and an item each. Received: {len(users)} users, {len(items)} items"
        )
    return {**user_inputs(users, profile), "item_id": _strings(items)}


def user_inputs(
    users: Sequence[UserRequest], profile: ProfileKinds | None = None
) -> dict[str, np.ndarray]:
    """Inputs that belong to users, one user a row.

    Histories of different lengths are completed at the end with empty ids, which the model skips.

    Args:
      users: the users.
      profile: profile attributes that the model reads beside those that users have.
    """
    length = max((len(user.history_item_id) for user in users), default=0) or 1
    items = np.full((len(users), length), _NO_ITEM, dtype=object)
    ratings = np.zeros((len(users), length), dtype=np.float32)
    for row, user in enumerate(users):
        count = len(user.history_item_id)
        items[row, :count] = list(user.history_item_id)
        ratings[row, :count] = user.history_rating
    inputs = {
        "user_id": _strings([user.user_id for user in users]),
        "history_item_id": items,
        "history_rating": ratings,
    }
    for name in _STATISTICS:
        inputs[name] = np.asarray([getattr(user, name) for user in users], dtype=np.float32)
    return inputs | profile_inputs([user.profile for user in users], profile)


def _strings(values: Sequence[str]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array
