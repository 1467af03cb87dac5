"""How far scores of an export may be from those of its checkpoint, and why.

A stored augmented vector is what a number format makes of the exact one. With u its largest element
in magnitude, rounding moves an element by at most

    float32   2^-24 u   which is nothing: the adapter's results are float32 numbers
    float16   2^-11 u   = u / 2048: 11 bits, each element with an exponent of its own
    int8      u / 254   half a step: 127 steps to each side of 0, one scale for the row

and a logit by at most L times that, L being how steep the trained network is in its augmented
vectors (in the sum of the magnitudes of its elements), which training decides and nothing bounds
beforehand. A sigmoid is at most 1/4 steep. So float16 costs eight times less than int8, and what L
is must be measured: docs/export.md has it for trained runs. The bounds are some times what was
measured, and far below what a wrong row, table or feature does, which is what a proof must see.
"""

from __future__ import annotations

SCORE_BOUNDS = {"float32": 1e-5, "float16": 1e-3, "int8": 3e-2}
"""Number format -> largest difference of a score from the checkpoint's."""

LOADER_BOUND = 1e-6
"""Largest difference of a score between two ways to load and ask the same SavedModel.

They run the same operations on the same numbers; what is left is the order of sums, which depends
on threads and on how the graph is optimised.
"""


def scaled(bound: float, largest: float) -> float:
    """A bound for numbers that are no probabilities, such as inner products of vectors.

    Args:
      bound: for numbers between 0 and 1.
      largest: the largest expected number in magnitude.
    """
    return bound * max(1.0, largest)
