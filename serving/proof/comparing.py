"""The largest difference between what is expected and what is found, and where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.records.contract import ITEM_ID
from serving.proof.bounds import scaled
from serving.ranking_module import SCORE

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Gap:
    """The largest difference in the answer of a signature.

    Attributes:
      difference: in magnitude; infinite where something is not comparable.
      bound: what is allowed.
      text: which output of which sample differs by how much.
    """

    difference: float
    bound: float
    text: str

    @property
    def is_within(self) -> bool:
        """Whether the bound is kept."""
        return self.difference <= self.bound


def largest_gap(expected: Arrays, found: Arrays, bound: float, names: Sequence[str]) -> Gap:
    """Compares the answer of a signature.

    Item ids are those of a search; they may differ where scores tie within the bound.

    Args:
      expected: output -> values, [n, ...] each.
      found: likewise.
      bound: for numbers between 0 and 1; that of larger numbers grows with them.
      names: of the n samples.
    """
    if expected.keys() != found.keys():
        text = f"outputs are {', '.join(sorted(found))} and not {', '.join(sorted(expected))}"
        return Gap(np.inf, bound, text)
    gaps = [
        _of_numbers(name, values, found[name], bound, names)
        for name, values in expected.items()
        if name != ITEM_ID
    ]
    if ITEM_ID in expected and all(gap.is_within for gap in gaps):
        gaps.append(_of_items(expected, found, bound, names))
    return max(gaps, key=lambda gap: (gap.difference > gap.bound, gap.difference))


def _of_numbers(
    output: str, expected: np.ndarray, found: np.ndarray, bound: float, names: Sequence[str]
) -> Gap:
    if expected.shape != found.shape:
        text = f"{output} has shape {list(found.shape)} and not {list(expected.shape)}"
        return Gap(np.inf, bound, text)
    if not expected.size:
        return Gap(0.0, bound, "nothing to compare")
    differences = np.abs(expected.astype(np.float64) - found)
    differences = np.where(np.isnan(differences), np.inf, differences)
    found_at = np.unravel_index(int(np.argmax(differences)), differences.shape)
    place = tuple(map(int, found_at))
    difference = float(differences[place])
    bound = scaled(bound, float(np.abs(expected).max()))
    text = (
        f"{output} of {names[place[0]]}: {expected[place]:.7g} expected, {found[place]:.7g} found, "
        f"a difference of {difference:.3g} where {bound:.3g} is allowed"
    )
    return Gap(difference, bound, text)


def _of_items(expected: Arrays, found: Arrays, bound: float, names: Sequence[str]) -> Gap:
    """Which items a search finds. An item may stand elsewhere where its expected score allows it.

    An item that was not expected at all must score like the last of those that were.
    """
    scores, found_scores = expected[SCORE], found[SCORE]
    allowed = 2 * scaled(bound, float(np.abs(scores).max(initial=0)))
    for row in np.flatnonzero((expected[ITEM_ID] != found[ITEM_ID]).any(axis=1)).tolist():
        score_of = dict(zip(expected[ITEM_ID][row].tolist(), scores[row].tolist(), strict=True))
        last = scores[row, -1]
        for place, item in enumerate(found[ITEM_ID][row].tolist()):
            difference = abs(score_of.get(item, last) - found_scores[row, place])
            if difference > allowed:
                text = (
                    f"item {item!r} at place {place + 1} of {names[row]}: "
                    f"{expected[ITEM_ID][row, place]!r} expected, and their scores do not tie"
                )
                return Gap(np.inf, bound, text)
    return Gap(0.0, bound, "the same items")
