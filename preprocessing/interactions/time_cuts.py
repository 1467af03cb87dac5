"""Where the parts of split.by=global_time end: quantiles of the samples' times, at whole hours.

Samples are counted by hour, so the quantiles are exact and memory holds one number per hour that
occurs, however many samples there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from configs.raw_data import Split
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.splitting import (
    TRAIN,
    VALIDATION,
    TimeCuts,
    knowledge_boundaries,
    share_up_to,
)

_SECONDS_PER_HOUR = 3600


def count_sample_hours(sequences: UserSequences, split: Split) -> Counter[int]:
    """Number of samples by hour since 1970."""
    boundaries = knowledge_boundaries(sequences.counts, split.knowledge_history_cap)
    is_sample = sequences.positions >= boundaries[sequences.user_of_row]
    hours, counts = np.unique(
        sequences.timestamps[is_sample] // _SECONDS_PER_HOUR, return_counts=True
    )
    return Counter(dict(zip(hours.tolist(), counts.tolist(), strict=True)))


def time_cuts(hours: Mapping[int, int], split: Split) -> TimeCuts:
    """The two cuts: for each, the first whole hour before which at least its share of samples lies.

    Args:
      hours: number of samples by hour since 1970.
      split: its fractions are the shares.
    """
    total = sum(hours.values())
    wanted = [share_up_to(split, part) * total for part in (TRAIN, VALIDATION)]
    cuts = [0, 0]
    before = 0
    for hour in sorted(hours):
        for number, share in enumerate(wanted):
            if before < share:
                cuts[number] = (hour + 1) * _SECONDS_PER_HOUR
        before += hours[hour]
    return cuts[0], cuts[1]
