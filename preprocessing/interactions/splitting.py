"""Which interactions are samples, and of which part."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from configs.raw_data import Split
from preprocessing.hashing import stable_hashes, unit_interval
from preprocessing.interactions.sequences import UserSequences

HISTORY_ONLY = -1
"""Part number of interactions before k_u: the LLM may have seen them, so they are never samples."""

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Part numbers, indices into `contract.PARTS`."""

TimeCuts = tuple[int, int]
"""Seconds since 1970 at which train and validation end."""


@dataclass(frozen=True)
class SplitRows:
    """The split of some users' interactions.

    Attributes:
      boundaries: [users] k_u, the number of first interactions the LLM may have seen.
      parts: [rows] part number, or HISTORY_ONLY.
      training: [rows] True for training interactions: those that item statistics and vocabularies
        may be made from.
    """

    boundaries: np.ndarray
    parts: np.ndarray
    training: np.ndarray


def knowledge_boundaries(counts: np.ndarray, cap: int) -> np.ndarray:
    """k_u = min(floor((n_u + 1) / 2), cap) (REKI, data protocol).

    Args:
      counts: [users] number of interactions n_u.
      cap: `split.knowledge_history_cap`.
    """
    return np.minimum((counts + 1) // 2, cap)


def split_interactions(
    sequences: UserSequences, split: Split, cuts: TimeCuts | None = None
) -> SplitRows:
    """Divides the interactions of some users into parts.

    time: a user's m samples follow each other: train up to 0.8 m, validation up to 0.9 m, test the
    rest (rounded to the nearest number, halves up). user: all samples of a user belong to one part,
    drawn by a hash of the user. global_time: samples before the first cut are train, before the
    second validation, from there on test. column: the part that the log names.

    Whatever the split, interactions before k_u are no samples.

    Args:
      sequences: all interactions of some users.
      split: how to split.
      cuts: global_time: where the parts end.
    """
    boundaries = knowledge_boundaries(sequences.counts, split.knowledge_history_cap)
    user, position = sequences.user_of_row, sequences.positions
    if split.by == "time":
        samples = sequences.counts - boundaries
        train_end = boundaries + _rounded_share(samples, share_up_to(split, TRAIN))
        validation_end = boundaries + _rounded_share(samples, share_up_to(split, VALIDATION))
        part = _by_ends(position, train_end[user], validation_end[user])
        training = position < train_end[user]
    elif split.by == "user":
        drawn = unit_interval(stable_hashes(sequences.users, f"split {split.seed}"))
        ends = [float(share_up_to(split, part)) for part in (TRAIN, VALIDATION)]
        part = _by_ends(drawn, *ends)[user]
        training = part == TRAIN
    elif split.by == "global_time":
        if cuts is None:
            raise ValueError("split.by=global_time needs cuts")
        part = _by_ends(sequences.timestamps, *cuts)
        training = part == TRAIN
    else:
        part = sequences.given_parts
        training = part == TRAIN
    is_sample = position >= boundaries[user]
    parts = np.where(is_sample, part, HISTORY_ONLY).astype(np.int8)
    return SplitRows(boundaries=boundaries, parts=parts, training=training)


def follows_later_part(sequences: UserSequences, split: SplitRows) -> np.ndarray:
    """Samples with an earlier interaction that the log itself gives to a later part.

    Their histories and user statistics know that interaction, however long ago it was.

    Args:
      sequences: all interactions of some users.
      split: their split, by `split.by=column`; other splits name no part in the log.

    Returns:
      [rows] bool.
    """
    follows = np.zeros(len(split.parts), dtype=bool)
    for part in (TRAIN, VALIDATION):
        is_later = sequences.given_parts > part
        later_before: np.ndarray = np.cumsum(is_later) - is_later
        later_before -= later_before[sequences.starts][sequences.user_of_row]
        follows |= (split.parts == part) & (later_before > 0)
    return follows


def share_up_to(split: Split, part: int) -> Fraction:
    """Share of all samples in the parts up to this one.

    Fractions count as written in the configuration, so that 0.9 * 15 is 13.5.
    """
    return sum((Fraction(str(share)) for share in split.fractions[: part + 1]), Fraction(0))


def _by_ends(
    values: np.ndarray, train_end: np.ndarray | float, validation_end: np.ndarray | float
) -> np.ndarray:
    part = np.where(values < validation_end, VALIDATION, TEST)
    return np.where(values < train_end, TRAIN, part)


def _rounded_share(counts: np.ndarray, share: Fraction) -> np.ndarray:
    return (2 * counts * share.numerator + share.denominator) // (2 * share.denominator)
