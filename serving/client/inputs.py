"""A user as a served model sees one: ids, history, profile, as input tensors."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from preprocessing.records.contract import (
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    LARGEST_RATING,
    NO_ID,
    PROFILE_PREFIX,
    STATISTIC_RANGES,
    USER_ID,
    USER_LOG_COUNT,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
)
from serving.client.errors import ProfileError, RankingError

RawId = str | int
"""An id as data has it; `318` and `"318"` are the same."""

_NO_TEXT = ""
_INT64 = np.iinfo(np.int64)
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


def id_array(values: Sequence[RawId], name: str, as_integers: bool) -> np.ndarray:
    """Ids as one tensor.

    Args:
      values: ids; empty ones are ids that nobody has.
      name: the input, for messages.
      as_integers: whether the model's ids are whole numbers.

    Returns:
      Strings as objects, or int64, [values].

    Raises:
      RankingError: INVALID_ARGUMENT; an id is no whole number of 64 bits in its usual writing, but
        the model's are.
    """
    if as_integers:
        return np.array([_integer(value, name) for value in values], dtype=np.int64)
    array = np.empty(len(values), dtype=object)
    array[:] = [str(value) for value in values]
    return array


def padded_ids(lists: Sequence[Sequence[RawId]], name: str, as_integers: bool) -> np.ndarray:
    """Lists of ids of different lengths, completed at the end with the id that is none.

    Args:
      lists: ids.
      name: the input, for messages.
      as_integers: whether the model's ids are whole numbers.

    Returns:
      [lists, longest], at least one column: strings completed by "", or int64 completed by -1.

    Raises:
      RankingError: see `id_array`.
    """
    width = max((len(ids) for ids in lists), default=0) or 1
    shape = (len(lists), width)
    array = np.full(shape, _NO_TEXT, object)
    if as_integers:
        array = np.full(shape, NO_ID, np.int64)
    for row, ids in enumerate(lists):
        array[row, : len(ids)] = id_array(ids, name, as_integers)
    return array


def _integer(value: RawId, name: str) -> int:
    if value == _NO_TEXT:
        return NO_ID
    # Another writing of a number is another id, and not that of an item by chance.
    is_number = _WHOLE_NUMBER.fullmatch(str(value)) is not None
    number = int(value) if is_number else _INT64.max + 1
    if not _INT64.min <= number <= _INT64.max:
        raise RankingError(
            "INVALID_ARGUMENT",
            f"input '{name}': the model's ids are whole numbers of 64 bits. Received: {value!r}",
        )
    return number


class InputKind(enum.Enum):
    """The kind of values that an input takes."""

    STRINGS = "strings"
    INTEGERS = "integers"
    NUMBERS = "numbers"


ProfileKinds = Mapping[str, bool]
"""Attribute -> whether its values are strings."""


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """How a request is written for a model.

    Attributes:
      profile: attributes of the user that the model reads.
      integers: inputs of int64, among them `user_id` and `item_id` where a model's ids are whole
        numbers.
      ratings: whether the model reads the ratings of the history, which one of implicit feedback
        does not; None where that is not known.
    """

    profile: ProfileKinds = dataclasses.field(default_factory=dict)
    integers: frozenset[str] = frozenset()
    ratings: bool | None = None

    @classmethod
    def of_kinds(cls, kinds: Mapping[str, InputKind]) -> Self:
        """What a signature's inputs say.

        Args:
          kinds: input -> kind of its values.
        """
        strings = {name: kind is InputKind.STRINGS for name, kind in kinds.items()}
        integers = {name for name, kind in kinds.items() if kind is InputKind.INTEGERS}
        ratings = HISTORY_RATING in kinds if HISTORY_ITEM_ID in kinds else None
        return cls(input_kinds(strings), frozenset(integers), ratings)


STRINGS_WITHOUT_PROFILE = ModelInputs()
"""What a client takes for granted until a model tells otherwise: ids are strings, no profile."""

ProfileValue = str | float | Sequence[str] | None
"""Values of a categorical attribute, or a number; None or no values where it is not known."""


def profile_inputs(
    profiles: Sequence[Mapping[str, ProfileValue]], profile_kinds: ProfileKinds | None = None
) -> dict[str, np.ndarray]:
    """Inputs of the profiles of several users, one user a row.

    Args:
      profiles: attribute -> value, of each user.
      profile_kinds: attributes that the model reads; those that a profile lacks are sent as not
        known, as those are that only other users of the request have.

    Returns:
      Input name -> strings [users, values], completed by "", or float32 [users, 1], NaN where not
      known.

    Raises:
      ValueError: an attribute is a string for one user and a number for another.
    """
    kinds = {**(profile_kinds or {}), **_given_kinds(profiles)}
    inputs = {}
    for name, is_text in kinds.items():
        values = [profile.get(name) for profile in profiles]
        feature = f"{PROFILE_PREFIX}{name}"
        inputs[feature] = (
            padded_ids([_texts(value) for value in values], feature, as_integers=False)
            if is_text
            else _numbers(values)
        )
    return inputs


def input_kinds(string_inputs: Mapping[str, bool]) -> dict[str, bool]:
    """The profile attributes among a signature's inputs.

    Args:
      string_inputs: input -> whether it is of strings.
    """
    return {
        name.removeprefix(PROFILE_PREFIX): is_text
        for name, is_text in string_inputs.items()
        if name.startswith(PROFILE_PREFIX)
    }


def require_profile_fits(inputs: Mapping[str, np.ndarray], kinds: ProfileKinds) -> None:
    """Makes sure that the model reads every profile attribute of a request.

    Args:
      inputs: input name -> array, see `profile_inputs`; other inputs do not count.
      kinds: the attributes that the model reads.

    Raises:
      ProfileError: the model does not read an attribute, or reads another kind of values.
    """
    sent = input_kinds({name: array.dtype == object for name, array in inputs.items()})
    for name, is_text in sent.items():
        if name not in kinds:
            listed = ", ".join(f"{other} ({_kind_name(kinds[other])})" for other in sorted(kinds))
            raise ProfileError(
                name, f"is not one that the model reads; it reads {listed or 'no profile'}"
            )
        if is_text != kinds[name]:
            raise ProfileError(
                name, f"must be a {_kind_name(kinds[name])}. Received: a {_kind_name(is_text)}"
            )


def _kind_name(is_text: bool) -> str:
    return "string or several" if is_text else "number"


def _given_kinds(profiles: Sequence[Mapping[str, ProfileValue]]) -> dict[str, bool]:
    kinds: dict[str, bool] = {}
    for profile in profiles:
        for name, value in profile.items():
            if value is None or _is_text(value) and not value:
                continue
            if kinds.setdefault(name, _is_text(value)) != _is_text(value):
                raise ValueError(
                    f"profile attribute '{name}' must be strings for all users or a number for "
                    f"all. Received: {value!r} beside the other kind"
                )
    return kinds


def _is_text(value: ProfileValue) -> bool:
    return isinstance(value, (str, Sequence))


def _texts(value: ProfileValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _numbers(values: Sequence[ProfileValue]) -> np.ndarray:
    numbers = [np.nan if value is None or _is_text(value) else value for value in values]
    return np.asarray(numbers, dtype=np.float32)[:, np.newaxis]


_STATISTICS = (USER_SHARE_LIKED, USER_MEAN_RATING, USER_LOG_COUNT)
_RANGES = {**STATISTIC_RANGES, USER_MEAN_RATING: (-LARGEST_RATING, LARGEST_RATING)}
_LARGEST = float(np.finfo(np.float32).max)


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
        for field in _STATISTICS:
            value = getattr(self, field)
            if not (field == USER_SHARE_LIKED and math.isnan(value)):
                _require_finite(value, field)
            low, high = _RANGES[field]
            _require_between(value, field, low, high)
        for name, attribute in self.profile.items():
            if isinstance(attribute, (int, float, np.floating)) and not math.isnan(attribute):
                _require_finite(attribute, f"profile attribute '{name}'")
        if self.history_rating is None:
            return
        for rating in self.history_rating:
            _require_finite(rating, "history_rating")
            _require_between(rating, "history_rating", -LARGEST_RATING, LARGEST_RATING)
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


def _require_finite(value: float, field: str) -> None:
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{field} must be finite numbers of 32 bits. Received: {value!r}")


def _require_between(value: float, field: str, low: float, high: float) -> None:
    if value < low or value > high:
        raise ValueError(f"{field} must be between {low:g} and {high:g}. Received: {value!r}")


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
    return {USER_SHARE_LIKED: share, USER_MEAN_RATING: mean, USER_LOG_COUNT: math.log1p(count)}


def rank_inputs(
    user: UserRequest,
    candidates: Sequence[RawId],
    model_inputs: ModelInputs = STRINGS_WITHOUT_PROFILE,
) -> dict[str, np.ndarray]:
    """Inputs of the signature `rank`: the user once, and the candidates, [candidates].

    Args:
      user: who asks.
      candidates: raw item ids.
      model_inputs: see `user_inputs`.

    Raises:
      RankingError: INVALID_ARGUMENT; see `user_inputs`.
    """
    return {**user_inputs([user], model_inputs), ITEM_ID: _items(candidates, model_inputs)}


def row_inputs(
    users: Sequence[UserRequest],
    items: Sequence[RawId],
    model_inputs: ModelInputs = STRINGS_WITHOUT_PROFILE,
) -> dict[str, np.ndarray]:
    """Inputs of the signature `serving_default`: aligned rows of a user and an item, [rows].

    Args:
      users: one per row.
      items: raw item ids, one per row.
      model_inputs: see `user_inputs`.

    Raises:
      ValueError: there are not as many users as items.
      RankingError: INVALID_ARGUMENT; see `user_inputs`.
    """
    if len(users) != len(items):
        raise ValueError(
            f"rows need a user and an item each. Received: {len(users)} users, {len(items)} items"
        )
    return {**user_inputs(users, model_inputs), ITEM_ID: _items(items, model_inputs)}


def user_inputs(
    users: Sequence[UserRequest], model_inputs: ModelInputs = STRINGS_WITHOUT_PROFILE
) -> dict[str, np.ndarray]:
    """Inputs that belong to users, one user a row.

    Histories of different lengths are completed at the end with the id that is none, which the
    model skips.

    Args:
      users: the users.
      model_inputs: which ids are whole numbers, and the profile attributes that the model reads
        beside those that users have.

    Raises:
      RankingError: INVALID_ARGUMENT; an id is no whole number, but the model's are, or a history
        has no ratings, which the model reads.
    """
    histories = padded_ids(
        [user.history_item_id for user in users],
        HISTORY_ITEM_ID,
        HISTORY_ITEM_ID in model_inputs.integers,
    )
    user_ids = [user.user_id for user in users]
    inputs = {
        USER_ID: id_array(user_ids, USER_ID, USER_ID in model_inputs.integers),
        HISTORY_ITEM_ID: histories,
    }
    with_ratings = model_inputs.ratings
    if with_ratings is None:
        with_ratings = all(user.history_rating is not None for user in users)
    if with_ratings:
        inputs[HISTORY_RATING] = _ratings(users, histories.shape)
    for name in _STATISTICS if with_ratings else (USER_LOG_COUNT,):
        inputs[name] = np.asarray([getattr(user, name) for user in users], dtype=np.float32)
    return inputs | profile_inputs([user.profile for user in users], model_inputs.profile)


def _ratings(users: Sequence[UserRequest], shape: tuple[int, ...]) -> np.ndarray:
    """Ratings of the histories, completed with zeros."""
    ratings = np.zeros(shape, dtype=np.float32)
    for row, user in enumerate(users):
        if user.history_rating is None and user.history_item_id:
            raise RankingError(
                "INVALID_ARGUMENT",
                f"{HISTORY_RATING} is missing: the model reads the ratings of the history, one "
                f"for each item of {HISTORY_ITEM_ID}",
            )
        if user.history_rating is not None:
            ratings[row, : len(user.history_rating)] = user.history_rating
    return ratings


def _items(items: Sequence[RawId], model_inputs: ModelInputs) -> np.ndarray:
    return id_array(items, ITEM_ID, ITEM_ID in model_inputs.integers)
