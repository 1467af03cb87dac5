"""Vectors of items: one block of columns for each kind of feature."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse
from sklearn.preprocessing import normalize

from configs.knowledge import Grouping
from preprocessing.grouping.co_occurrence import co_occurrence_weights
from preprocessing.grouping.described_items import DescribedItems
from preprocessing.grouping.embedding import embed, weigh_columns
from preprocessing.grouping.known_interactions import KnownInteractions
from preprocessing.grouping.values import hashed_columns, standardised_column, words_of


def item_blocks(
    items: DescribedItems, known: KnownInteractions, grouping: Grouping
) -> Iterator[np.ndarray]:
    """Yields [items, width] float32 for each kind of feature, in the order of the configuration.

    Each block has rows of length 1, or 0 for an item without that kind of feature.

    Args:
      items: all items.
      known: what groups may be made from; items are numbered as in `items`.
      grouping: which kinds, how wide, and the seed.
    """
    for kind in grouping.features:
        if kind == "co_occurrence":
            weights = co_occurrence_weights(
                known.item_of_row, known.user_of_row, len(items.ids), len(known.user_ids)
            )
        elif kind == "attributes":
            weights = attribute_weights(items)
        else:
            weights = weigh_columns(hashed_columns(words_of(items.titles)))
        yield embed(weights, grouping.dimension, grouping.seed)


def attribute_weights(items: DescribedItems) -> sparse.csr_matrix:
    """All attributes side by side, each of about the same weight.

    A categorical attribute has rows of length 1, a numeric one standard deviations.

    Args:
      items: all items.

    Returns:
      [items, columns] float32.
    """
    columns = [
        normalize(weigh_columns(hashed_columns(values))) for values in items.categories.values()
    ]
    columns += [standardised_column(numbers) for numbers in items.numbers.values()]
    if not columns:
        return sparse.csr_matrix((len(items.ids), 0), dtype=np.float32)
    return sparse.hstack(columns, format="csr", dtype=np.float32)
