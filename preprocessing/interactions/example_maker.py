"""The examples of each kind that some users' samples become."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from configs.raw_data import Data
from preprocessing.interactions.candidates import (
    Candidates,
    interactions_alone,
    rerank_lists,
    with_negatives,
)
from preprocessing.interactions.profile_columns import ProfileColumns
from preprocessing.interactions.samples import (
    CtrColumns,
    RerankColumns,
    RetrievalColumns,
    UserColumns,
)
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.unseen_items import ItemUniverse, UnseenItems
from preprocessing.records.contract import CTR, RERANK, RETRIEVAL
from preprocessing.records.wire import Column


class ExampleColumns(Protocol):
    """Examples of one kind."""

    def __len__(self) -> int:
        """Number of examples."""

    def of(self, numbers: np.ndarray) -> dict[str, Column]:
        """Columns of some examples, by their numbers, in the given order."""


def needs_universe(data: Data) -> bool:
    """True when examples hold sampled items."""
    return RERANK in data.examples or (CTR in data.examples and data.negatives.per_positive > 0)


class ExampleMaker:
    """Makes examples and counts the sampled items that could not be drawn.

    Args:
      sequences: all interactions of some users.
      parts: [rows] part number of each, see `SplitRows`.
      profiles: their attributes.
      data: configuration of the data.
      universe: what sampled items are drawn from; needed by `needs_universe`.

    Attributes:
      missing_negatives: sampled negatives that CTR examples lack.
      missing_candidates: sampled items that lists for re-ranking lack.
    """

    def __init__(
        self,
        sequences: UserSequences,
        parts: np.ndarray,
        profiles: ProfileColumns,
        data: Data,
        universe: ItemUniverse | None,
    ):
        self.missing_negatives = 0
        self.missing_candidates = 0
        self._sequences = sequences
        self._parts = parts
        self._data = data
        self._universe = universe
        self._user = UserColumns(sequences, data.history_length, profiles)

    def make(self, kind: str, part: int) -> ExampleColumns:
        """The examples of one kind and part.

        Args:
          kind: ctr, rerank or retrieval.
          part: number of the part.
        """
        rows = np.flatnonzero(self._parts == part)
        if kind == RERANK:
            return self._rerank(rows, part)
        if kind == RETRIEVAL:
            liked = rows[self._sequences.labels[rows] == 1]
            return RetrievalColumns(self._user, self._sequences, liked)
        return self._ctr(rows, part)

    def _ctr(self, rows: np.ndarray, part: int) -> ExampleColumns:
        negatives = self._data.negatives
        if not negatives.per_positive:
            alone = interactions_alone(self._sequences, rows)
            return self._ctr_columns(rows, alone, None)
        unseen = self._unseen(part, negatives.by == "popularity", f"negatives {negatives.seed}")
        history_rows, candidates, missing = with_negatives(
            self._sequences, rows, unseen, negatives.per_positive
        )
        self.missing_negatives += missing
        return self._ctr_columns(history_rows, candidates, self._items_to_draw.item_ids)

    def _ctr_columns(
        self, history_rows: np.ndarray, candidates: Candidates, universe: pa.Array | None
    ) -> CtrColumns:
        names = tuple(self._data.labels)
        return CtrColumns(
            self._user, self._sequences, history_rows, candidates, universe, extra_labels=names
        )

    def _rerank(self, rows: np.ndarray, part: int) -> ExampleColumns:
        settings = self._data.rerank
        unseen = self._unseen(part, False, f"rerank {settings.seed}")
        lists = rerank_lists(self._sequences, rows, unseen, settings)
        self.missing_candidates += lists.missing
        universe = self._items_to_draw.item_ids
        return RerankColumns(self._user, self._sequences, lists, universe)

    def _unseen(self, part: int, by_popularity: bool, purpose: str) -> UnseenItems:
        """Draws items new to a user by the end of a part: later interactions stay unknown."""
        # The number of interactions before k_u, HISTORY_ONLY, is smaller than that of any part.
        known = self._parts <= part
        return UnseenItems(self._items_to_draw, self._sequences, known, by_popularity, purpose)

    @property
    def _items_to_draw(self) -> ItemUniverse:
        if self._universe is None:
            raise ValueError("sampled items need a universe of items to draw from")
        return self._universe
