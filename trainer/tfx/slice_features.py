"""Features by whose values Evaluator may judge groups of examples apart; without importing TFX."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from configs.data import Data
from configs.loading import ConfigurationError
from preprocessing.records.contract import CTR, HISTORY_ITEM_ID, FeatureType, features_of

USER_ACTIVITY = "user_activity"
"""Group by the number of the user's earlier interactions, which Evaluator adds to the examples."""

ACTIVITY_BOUNDS = (20, 50, 100, 200, 500)
"""Earlier interactions from which on a user is in the next group of `user_activity`."""


def activity_groups() -> list[str]:
    """Names of the groups of `user_activity`, least active first, e.g. "20-49"."""
    starts = (0, *ACTIVITY_BOUNDS)
    closed = [f"{start}-{end - 1}" for start, end in zip(starts, ACTIVITY_BOUNDS, strict=False)]
    return [*closed, f"{starts[-1]}+"]


def sliceable_features(data: Data) -> tuple[str, ...]:
    """`user_activity`, and the features of the examples that hold names or whole numbers."""
    return (
        USER_ACTIVITY,
        *(
            feature.name
            for feature in features_of(CTR, data)
            if feature.type is not FeatureType.FLOAT and feature.name != HISTORY_ITEM_ID
        ),
    )


def check_slices(slices: Iterable[str], data: Data) -> tuple[str, ...]:
    """The same features without repetitions.

    Raises:
      ConfigurationError: a feature is unknown, or its values are no groups.
    """
    sliceable = sliceable_features(data)
    for name in slices:
        if name not in sliceable:
            close = difflib.get_close_matches(name, sliceable, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Possible: {', '.join(sliceable)}"
            raise ConfigurationError(
                f"--slice '{name}': not a feature whose values are groups. {hint}"
            )
    return tuple(dict.fromkeys(slices))
