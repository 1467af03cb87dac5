"""A user as the model sees one, and the tensors of a ranking request."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving.client.errors import RankingError
from serving.client.identifiers import RawId, id_array, padded_ids
from serving.client.model_inputs import STRINGS_WITHOUT_PROFILE, ModelInputs
from serving.client.profile_inputs import ProfileValue, profile_inputs

_STATISTICS = ("user_share_liked", "user_mean_rating", "user_log_count")
_USER_ID = "user_id"
_ITEM_ID = "item_id"
_HISTORY_ITEM_ID = "history_item_id"
_HISTORY_RATING = "history_rating"
_LOG_COUNT = _STATISTICS[2]


@dataclasses.dataclass(frozen=True)
class UserRequest:
    """The user's side of a ranking request: raw ids and numbers only.

    Attributes:
      user_id: raw id; unknown ones are allowed.
      history_item_id: rated items, newest last.
      history_rating: their ratings; None for implicit feedback, whose models read none.
      user_share_liked: share of the user's ratings that were positive; NaN lets the model count it
        in the given history.
      user_mean_rating: mean of the user's ratings.
      user_log_count: log(1 + number of the user's ratings).
      profile: attributes of the user that the model reads, each a number, a string or several
        strings; what is left out or None is not known.
    """

    user_id: RawId
    history_item_id: Sequence[RawId]
    history_rating: Sequence[float] | None
    user_share_liked: float
    user_mean_rating: float
    user_log_count: float
    profile: Mapping[str, ProfileValue] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.history_rating is None:
            return
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
        history_rating: Sequence[float] | None = None,
        positive_rating: float | None = None,
        profile: Mapping[str, ProfileValue] | None = None,
    ) -> UserRequest:
        """Computes the statistics from the given history.

        Args:
          user_id: raw id.
          history_item_id: rated items, newest last.
          history_rating: their ratings; None for implicit feedback.
          positive_rating: a rating of at least this counts as positive; None leaves it to the
            model, which knows what it was trained with.
          profile: see the class.
        """
        statistics = history_statistics(len(history_item_id), history_rating, positive_rating)
        return cls(user_id, history_item_id, history_rating, **statistics, profile=profile or {})


def history_statistics(
    count: int, history_rating: Sequence[float] | None, positive_rating: float | None
) -> dict[str, float]:
    """The running user statistics after a history; all are 0 when it is empty.

    Args:
      count: its interactions.
      history_rating: their ratings; None for implicit feedback, where each is 1 and liked.
      positive_rating: what counts as liked; with None the share is NaN, and the model counts it.
    """
    if not count:
        return dict.fromkeys(_STATISTICS, 0.0)
    if history_rating is None:
        share = mean = 1.0
    else:
        mean = math.fsum(history_rating) / count
        share = math.nan
        if positive_rating is not None:
            share = sum(rating >= positive_rating for rating in history_rating) / count
    return {
        "user_share_liked": share,
        "user_mean_rating": mean,
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
      RankingError: INVALID_ARGUMENT; an id is no whole number, but the model's are, or a history
        has no ratings, which the model reads.
    """
    histories = padded_ids(
        [user.history_item_id for user in users],
        _HISTORY_ITEM_ID,
        _HISTORY_ITEM_ID in known.integers,
    )
    user_ids = [user.user_id for user in users]
    inputs = {
        _USER_ID: id_array(user_ids, _USER_ID, _USER_ID in known.integers),
        _HISTORY_ITEM_ID: histories,
    }
    with_ratings = known.ratings
    if with_ratings is None:
        with_ratings = all(user.history_rating is not None for user in users)
    if with_ratings:
        inputs[_HISTORY_RATING] = _ratings(users, histories.shape)
    for name in _STATISTICS if with_ratings else (_LOG_COUNT,):
        inputs[name] = np.asarray([getattr(user, name) for user in users], dtype=np.float32)
    return inputs | profile_inputs([user.profile for user in users], known.profile)


def _ratings(users: Sequence[UserRequest], shape: tuple[int, ...]) -> np.ndarray:
    """Ratings of the histories, completed with zeros."""
    ratings = np.zeros(shape, dtype=np.float32)
    for row, user in enumerate(users):
        if user.history_rating is None and user.history_item_id:
            raise RankingError(
                "INVALID_ARGUMENT",
                f"{_HISTORY_RATING} is missing: the model reads the ratings of the history, one "
                f"for each item of {_HISTORY_ITEM_ID}",
            )
        if user.history_rating is not None:
            ratings[row, : len(user.history_rating)] = user.history_rating
    return ratings


def _items(items: Sequence[RawId], known: ModelInputs) -> np.ndarray:
    return id_array(items, _ITEM_ID, _ITEM_ID in known.integers)
