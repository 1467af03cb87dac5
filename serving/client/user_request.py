"""A user as the model sees one, and the tensors of a ranking request."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving.client.identifiers import RawId, id_array, padded_ids
from serving.client.model_inputs import STRINGS_WITHOUT_PROFILE, ModelInputs
from serving.client.profile_inputs import ProfileValue, profile_inputs

_STATISTICS = ("user_share_liked", "user_mean_rating", "user_log_count")
_USER_ID = "user_id"
_ITEM_ID = "item_id"
_HISTORY_ITEM_ID = "history_item_id"


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

    user_id: RawId
    history_item_id: Sequence[RawId]
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
        user_id: RawId,
        history_item_id: Sequence[RawId],
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
    user: UserRequest, candidates: Sequence[RawId], known: ModelInputs = STRINGS_WITHOUT_PROFILE
) -> dict[str, np.ndarray]:
    """Inputs of the signature `rank`: the user once, and the candidates, [candidates].

    Args:
      user: who asks.
      candidates: raw item ids.
      known: see `user_inputs`.

    Raises:
      RankingError: INVALID_ARGUMENT; see `user_inputs`.
    """
    return {**user_inputs([user], known), _ITEM_ID: _items(candidates, known)}


def row_inputs(
    users: Sequence[UserRequest],
    items: Sequence[RawId],
    known: ModelInputs = STRINGS_WITHOUT_PROFILE,
) -> dict[str, np.ndarray]:
    """Inputs of the signature `serving_default`: aligned rows of a user and an item, [rows].

    Args:
      users: one per row.
      items: raw item ids, one per row.
      known: see `user_inputs`.

    Raises:
      ValueError: there are not as many users as items.
      RankingError: INVALID_ARGUMENT; see `user_inputs`.
    """
    if len(users) != len(items):
        raise ValueError(
            f"rows need a user and an item each. Received: {len(users)} users, {len(items)} items"
        )
    return {**user_inputs(users, known), _ITEM_ID: _items(items, known)}


def user_inputs(
    users: Sequence[UserRequest], known: ModelInputs = STRINGS_WITHOUT_PROFILE
) -> dict[str, np.ndarray]:
    """Inputs that belong to users, one user a row.

    Histories of different lengths are completed at the end with the id that is none, which the
    model skips.

    Args:
      users: the users.
      known: which ids are whole numbers, and the profile attributes that the model reads beside
        those that users have.

    Raises:
      RankingError: INVALID_ARGUMENT; an id is no whole number, but the model's are.
    """
    histories = padded_ids(
        [user.history_item_id for user in users],
        _HISTORY_ITEM_ID,
        _HISTORY_ITEM_ID in known.integers,
    )
    ratings = np.zeros(histories.shape, dtype=np.float32)
    for row, user in enumerate(users):
        ratings[row, : len(user.history_rating)] = user.history_rating
    user_ids = [user.user_id for user in users]
    inputs = {
        _USER_ID: id_array(user_ids, _USER_ID, _USER_ID in known.integers),
        _HISTORY_ITEM_ID: histories,
        "history_rating": ratings,
    }
    for name in _STATISTICS:
        inputs[name] = np.asarray([getattr(user, name) for user in users], dtype=np.float32)
    return inputs | profile_inputs([user.profile for user in users], known.profile)


def _items(items: Sequence[RawId], known: ModelInputs) -> np.ndarray:
    return id_array(items, _ITEM_ID, _ITEM_ID in known.integers)
