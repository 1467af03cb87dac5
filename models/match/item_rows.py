"""Rows of the catalogue -> rows of the item tables of several sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from models.growing import growing_table


class ItemRows(tf.keras.layers.Layer):
    """The table row that each source has of a catalogue row.

    Shapes: a source and int [...] -> int32 [...].
    """

    def __init__(
        self,
        sources: Sequence[str],
        num_catalogue_rows: int,
        item_rows: Mapping[str, np.ndarray] | None = None,
        **kwargs: object,
    ):
        """Creates the weights.

        Args:
          sources: names of the sources.
          num_catalogue_rows: rows of the catalogue.
          item_rows: source -> [catalogue rows]; zeros, to be loaded later, if None.
          **kwargs: Keras layer arguments.
        """
        super().__init__(**kwargs)
        self._rows = {
            source: self.add_weight(
                name=f"{source}_rows",
                shape=[num_catalogue_rows],
                dtype=tf.int32,
                initializer="zeros",
                trainable=False,
            )
            for source in sources
        }
        for source, rows in (item_rows or {}).items():
            self._rows[source].assign(rows)

    def call(self, source: str, catalogue_rows: tf.Tensor) -> tf.Tensor:
        """Looks rows up."""
        return tf.gather(self._rows[source], catalogue_rows)

    def stored(self) -> StoredItemRows:
        """What an export has in the place of this: tables that may grow."""
        return StoredItemRows(self._rows)


class StoredItemRows(tf.Module):
    """What an export has of `ItemRows`."""

    def __init__(self, rows: Mapping[str, tf.Variable]):
        """Copies the rows of every source."""
        super().__init__(name="stored_item_rows")
        self._rows = {
            source: growing_table(of_source, f"items/match_row/{source}")
            for source, of_source in rows.items()
        }

    def __call__(self, source: str, catalogue_rows: tf.Tensor) -> tf.Tensor:
        """Looks rows up."""
        return tf.gather(self._rows[source], catalogue_rows)
