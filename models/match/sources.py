"""Knowledge match over several item sources at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.layer_support import PACKAGE
from models.match.layer import KnowledgeMatch
from models.match.tables import ItemRows, StoredItemRows


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgeMatches(tf.keras.layers.Layer):
    """One `KnowledgeMatch` per source over the same histories, features side by side.

    Rows are those of the catalogue; every source has its own table row of each.

    Shapes: as `KnowledgeMatch`, with the features of all sources.

    Attributes:
      matches: source -> its match.
      num_catalogue_rows: rows of the catalogue, the unknown item's row 0 included.
    """

    def __init__(
        self,
        matches: Mapping[str, KnowledgeMatch],
        item_rows: Mapping[str, np.ndarray] | None = None,
        num_catalogue_rows: int | None = None,
        **kwargs: object,
    ):
        """Connects the sources.

        Args:
          matches: source -> its match.
          item_rows: source -> [catalogue rows], row in the match's item table.
          num_catalogue_rows: when `item_rows` is left out and loaded later as weights.
          **kwargs: Keras layer arguments.

        Raises:
          ValueError: there are no sources, or rows of other sources, or neither rows nor their
            number.
        """
        super().__init__(**kwargs | {"dtype": "float32"})
        if not matches:
            raise ValueError("give at least one source")
        if item_rows is not None:
            if set(item_rows) != set(matches):
                raise ValueError(
                    f"matches of {sorted(matches)} need item rows of the same sources. "
                    f"Received: {sorted(item_rows)}"
                )
            (num_catalogue_rows,) = {len(rows) for rows in item_rows.values()}
        elif num_catalogue_rows is None:
            raise ValueError("give item_rows, or num_catalogue_rows when they are loaded later")
        self.matches = dict(matches)
        self.num_catalogue_rows = num_catalogue_rows
        self._item_rows: ItemRows | StoredItemRows = ItemRows(
            tuple(matches), num_catalogue_rows, item_rows
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in the order of their features."""
        return tuple(self.matches)

    @property
    def num_features(self) -> int:
        """Features per candidate."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, "source/feature", in their order."""
        return tuple(
            f"{source}/{name}"
            for source, match in self.matches.items()
            for name in match.feature_names
        )

    @property
    def is_learned(self) -> bool:
        """Whether the features depend on trained weights, and so change from step to step."""
        return any(match.is_learned for match in self.matches.values())

    @property
    def has_folds(self) -> bool:
        """Whether a source is made from ratings: training samples must name their fold."""
        return any(match.has_folds for match in self.matches.values())

    def call(
        self,
        candidate_rows: tf.Tensor,
        history_rows: tf.Tensor,
        history_residuals: tf.Tensor,
        history_liked: tf.Tensor,
        history_mask: tf.Tensor,
        folds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the features of all sources.

        Args:
          candidate_rows: int [n] or [users, candidates], rows of the catalogue.
          history_rows: int [n or 1, length], or [users, length].
          history_residuals: as in `KnowledgeMatch`.
          history_liked: as in `KnowledgeMatch`.
          history_mask: as in `KnowledgeMatch`.
          folds: as in `KnowledgeMatch`; sources without fold tables ignore it.

        Returns:
          float32 [*candidates, num_features]; NaN where a source knows nothing of the candidate.
        """
        features = [
            match(
                self._item_rows(source, candidate_rows),
                self._item_rows(source, history_rows),
                history_residuals,
                history_liked,
                history_mask,
                folds,
                missing=np.nan,
            )
            for source, match in self.matches.items()
        ]
        return tf.concat(features, axis=-1)

    def store(self, dtype: tf.DType) -> None:
        """Takes the form of an export: tables that may grow, without those by fold.

        Args:
          dtype: number format of the item tables, see `KnowledgeMatch.store`.
        """
        for source, match in self.matches.items():
            match.store(f"knowledge/{source}/match", dtype)
        self._item_rows = self._item_rows.stored()

    def get_config(self) -> dict[str, object]:
        """The matches and the catalogue's size; rows are saved as weights."""
        return {
            **super().get_config(),
            "matches": {
                source: tf.keras.layers.serialize(match) for source, match in self.matches.items()
            },
            "num_catalogue_rows": self.num_catalogue_rows,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KnowledgeMatches:
        """Makes the layer again, with zeros in its tables."""
        matches = {
            source: tf.keras.layers.deserialize(match)
            for source, match in config["matches"].items()
        }
        return cls(**config | {"matches": matches})
