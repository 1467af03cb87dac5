"""Texts of more tokens than an encoder reads at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def average_of_windows(
    vectors: np.ndarray, tokens: Sequence[int], text_of_window: Sequence[int], texts: int
) -> np.ndarray:
    """The vector of each text: the mean of its windows' vectors, weighted by their tokens.

    A text of one window gets exactly that window's vector: a product of a float32 and a number of
    tokens fits into the 53 bits of a float64.

    Args:
      vectors: [windows, dimension] float32.
      tokens: [windows] real tokens of each window.
      text_of_window: [windows] which text each window is from; every text has one at least.
      texts: number of texts.

    Returns:
      [texts, dimension] float32.
    """
    weights = np.asarray(tokens, np.float64)
    owners = np.asarray(text_of_window, np.int64)
    sums = np.zeros((texts, vectors.shape[1]), np.float64)
    np.add.at(sums, owners, vectors.astype(np.float64) * weights[:, np.newaxis])
    totals = np.bincount(owners, weights, minlength=texts)
    return (sums / totals[:, np.newaxis]).astype(np.float32)
