"""Which interactions are samples, and of which part."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from configs.scenario import Split
from preprocessing.hashing import stable_hashes, unit_interval
from preprocessing.interactions.sequences import UserSequences

HISTORY_ONLY = -1
"""Part number of interactions before k_u: the LLM may have seen them, so they are never samples."""

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Part numbers, indices into `contract.PARTS`."""


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


def split_interactions(sequences: UserSequences, split: Split) -> SplitRows:
    """Divides the interactions of some users into parts.

    By time, a user's m samples follow each other: train up to 0.8 m, validation up to 0.9 m, test
    the rest (rounded to the nearest number, halves up). By user, all samples of a user belong to
    one part, drawn by a hash of the user.

    Args:
      sequences: all interactions of some users.
      split: how to split.
    """
    boundaries = knowledge_boundaries(sequences.counts, split.knowledge_history_cap)
    user, position = sequences.user_of_row, sequences.positions
    is_sample = position >= boundaries[user]
    if split.by == "time":
        samples = sequences.counts - boundaries
        train_end = boundaries + _rounded_share(samples, _exact(split.fractions[:1]))
        validation_end = boundaries + _rounded_share(samples, _exact(split.fractions[:2]))
        part = np.where(position < validation_end[user], VALIDATION, TEST)
        part = np.where(position < train_end[user], TRAIN, part)
        training = position < train_end[user]
    else:
        drawn = unit_interval(stable_hashes(sequences.users, f"split {split.seed}"))
        ends = [float(_exact(split.fractions[:1])), float(_exact(split.fractions[:2]))]
        part = np.searchsorted(ends, drawn, side="right")[user]
        training = part == TRAIN
    parts = np.where(is_sample, part, HISTORY_ONLY).astype(np.int8)
    return SplitRows(boundaries=boundaries, parts=parts, training=training)


def _exact(fractions: tuple[float, ...]) -> Fraction:
    """Sum of decimal fractions as written in the configuration, so that 0.9 * 15 is 13.5."""
    return sum((Fraction(str(fraction)) for fraction in fractions), Fraction(0))


def _rounded_share(counts: np.ndarray, share: Fraction) -> np.ndarray:
    return (2 * counts * share.numerator + share.denominator) // (2 * share.denominator)
