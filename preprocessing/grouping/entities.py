"""What is grouped: items, or the users who liked or disliked something, and their vectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from preprocessing.grouping.co_occurrence import pairs_matrix
from preprocessing.grouping.described_items import DescribedItems
from preprocessing.grouping.kinds import Kind
from preprocessing.grouping.known_interactions import KnownInteractions
from preprocessing.grouping.users import user_vectors


@dataclass(frozen=True)
class Entities:
    """Items or users to be grouped.

    Attributes:
      ids: [entities] sorted.
      vectors: [entities, width] float32.
      counted: [entities] True for those that can speak for a group in a prompt.
      left_out: reason -> entities that were left out before grouping.
    """

    ids: pa.Array
    vectors: np.ndarray
    counted: np.ndarray
    left_out: dict[str, int]


def items_to_group(items: DescribedItems, blocks: Iterable[np.ndarray]) -> Entities:
    """All items; those with a title can speak for a group.

    Args:
      items: the items.
      blocks: [items, width] for each kind of feature.
    """
    return Entities(
        ids=items.ids,
        vectors=np.concatenate(list(blocks), axis=1),
        counted=items.titled,
        left_out={"filtered_out": items.filtered_out},
    )


def users_to_group(
    kind: Kind, items: DescribedItems, blocks: Iterable[np.ndarray], known: KnownInteractions
) -> Entities:
    """Users with at least one title that they liked, or disliked.

    Args:
      kind: "liked" or "disliked".
      items: the items.
      blocks: [items, width] for each kind of feature.
      known: the interactions; items are numbered as in `items`.
    """
    shown = items.titled[known.item_of_row] & (known.liked == (kind == "liked"))
    judged = pairs_matrix(
        known.user_of_row[shown],
        known.item_of_row[shown],
        (len(known.user_ids), len(items.ids)),
    )
    chosen = np.flatnonzero(np.diff(judged.indptr))
    judged = judged[chosen]
    return Entities(
        ids=known.user_ids.take(pa.array(chosen)),
        vectors=np.concatenate([user_vectors(judged, block) for block in blocks], axis=1),
        counted=np.ones(len(chosen), dtype=bool),
        left_out={f"without_{kind}_titles": len(known.user_ids) - len(chosen)},
    )
