"""Settings of the step `examples` that do not go together, found before anything is read."""

from __future__ import annotations

from configs.loading import ConfigurationError
from configs.raw_data import Data, Split
from preprocessing.records.contract import CTR, PROFILE_PREFIX, RERANK


def require_consistent_settings(data: Data, split: Split) -> None:
    """Checks that the examples asked for can be made.

    Raises:
      ConfigurationError: they cannot; the message names the keys.
    """
    columns = data.interactions.columns
    if split.by == "global_time" and columns.timestamp is None:
        raise ConfigurationError(
            "split.by: 'global_time' needs data.interactions.columns.timestamp; without a time use "
            "'time' (each user's own order) or 'user'"
        )
    if split.by == "global_time" and columns.order is not None:
        raise ConfigurationError(
            "split.by: 'global_time' cuts the parts by time, but data.interactions.columns.order "
            f"'{columns.order}' orders histories, so that test interactions could come before "
            "training samples; set data.interactions.columns.order to null (histories then follow "
            "the time too) or split.by to 'time' or 'user'"
        )
    if columns.rating is None and columns.label is None:
        _require_negatives(data)
    attributes = data.profiles.attributes if data.profiles else {}
    for name in attributes:
        taken = f"{PROFILE_PREFIX}{name}"
        if taken in data.catalogue.attributes:
            raise ConfigurationError(
                f"data.catalogue.attributes: '{taken}' is the name of a user attribute's "
                "vocabulary (data.profiles); give the item attribute another name and set its "
                "'column'"
            )


def _require_negatives(data: Data) -> None:
    """Implicit feedback has positive interactions only."""
    reason = "data.interactions.columns maps neither 'rating' nor 'label', so all labels would be 1"
    if CTR in data.examples and data.negatives.per_positive == 0:
        raise ConfigurationError(
            f"{reason}: set data.negatives.per_positive to sample negatives, e.g. 4"
        )
    if RERANK in data.examples and data.rerank.window == data.rerank.length:
        raise ConfigurationError(
            f"{reason}: set data.rerank.length above data.rerank.window, so that lists get sampled "
            "items"
        )
