"""The user's profile as input tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from preprocessing.records.contract import PROFILE_PREFIX
from serving.client.errors import ProfileError

ProfileValue = str | float | Sequence[str] | None
"""Values of a categorical attribute, or a number; None or no values where it is not known."""

ProfileKinds = Mapping[str, bool]
"""Attribute -> whether its values are strings."""

_NO_VALUE = ""


def profile_inputs(
    profiles: Sequence[Mapping[str, ProfileValue]], known: ProfileKinds | None = None
) -> dict[str, np.ndarray]:
    """Inputs of the profiles of several users, one user a row.

    Args:
      profiles: attribute -> value, of each user.
      known: attributes that the model reads; those that a profile lacks are sent as not known, as
        those are that only other users of the request have.

    Returns:
      Input name -> strings [users, values], completed by "", or float32 [users, 1], NaN where not
      known.

    Raises:
      ValueError: an attribute is a string for one user and a number for another.
    """
    kinds = {**(known or {}), **_given_kinds(profiles)}
    inputs = {}
    for name, is_text in kinds.items():
        values = [profile.get(name) for profile in profiles]
        inputs[f"{PROFILE_PREFIX}{name}"] = _strings(values) if is_text else _numbers(values)
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


def require_profile_fits(inputs: Mapping[str, np.ndarray], known: ProfileKinds) -> None:
    """Makes sure that the model reads every profile attribute of a request.

    Args:
      inputs: input name -> array, see `profile_inputs`; other inputs do not count.
      known: the attributes that the model reads.

    Raises:
      ProfileError: the model does not read an attribute, or reads another kind of values.
    """
    sent = input_kinds({name: array.dtype == object for name, array in inputs.items()})
    for name, is_text in sent.items():
        if name not in known:
            listed = ", ".join(f"{other} ({_kind_name(known[other])})" for other in sorted(known))
            raise ProfileError(
                name, f"is not one that the model reads; it reads {listed or 'no profile'}"
            )
        if is_text != known[name]:
            raise ProfileError(
                name, f"must be a {_kind_name(known[name])}. Received: a {_kind_name(is_text)}"
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


def _strings(values: Sequence[ProfileValue]) -> np.ndarray:
    lists = [_texts(value) for value in values]
    width = max((len(of_user) for of_user in lists), default=0) or 1
    array = np.full((len(lists), width), _NO_VALUE, dtype=object)
    for row, of_user in enumerate(lists):
        array[row, : len(of_user)] = of_user
    return array


def _texts(value: ProfileValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _numbers(values: Sequence[ProfileValue]) -> np.ndarray:
    known = [np.nan if value is None or _is_text(value) else value for value in values]
    return np.asarray(known, dtype=np.float32)[:, np.newaxis]
