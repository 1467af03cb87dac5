"""Adapters: from knowledge rows to augmented vectors, by a network or by stored tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.hein import HybridExpertNetwork
from models.knowledge import MISSING_ROW, KnowledgeTable

_EXPORT_CHUNK = 8192


class HybridExpertAdapter(tf.keras.layers.Layer):
    """Knowledge tables and the hybridized expert-integrated network behind one call.

    Every source's network runs once per distinct row of the batch. Row 0 ("missing") gives a
    trained default vector per source; `knowledge_dropout_rate` hides knowledge at random in
    training so that it is learned.

    Shapes: source -> rows int [n] in; source -> [n, width] out.

    Attributes:
      network: the hybridized expert-integrated network.
      knowledge_dropout_rate: share of rows replaced by row 0 in training.
    """

    def __init__(
        self,
        tables: Mapping[str, KnowledgeTable],
        network: HybridExpertNetwork,
        knowledge_dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Connects tables and network.

        Raises:
          ValueError: the tables are not those of the network's sources.
        """
        super().__init__(**kwargs)
        if set(tables) != set(network.sources):
            raise ValueError(
                f"tables {sorted(tables)} must be those of sources {sorted(network.sources)}"
            )
        self.tables = dict(tables)
        self.network = network
        self.knowledge_dropout_rate = knowledge_dropout_rate

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return self.network.sources

    @property
    def width(self) -> int:
        """Width of the augmented vectors."""
        return self.network.expert_units[-1]

    def build(self, input_shape: object) -> None:
        """Creates the default vectors and the network's weights."""
        self._defaults = {
            source: self.add_weight(
                name=f"default_{source}",
                shape=(self.width,),
                initializer="zeros",
            )
            for source in self.sources
        }
        self.network.build(
            {source: [None, self.tables[source].dimension] for source in self.sources}
        )
        super().build(input_shape)

    def call(
        self, rows: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Augmented vectors of knowledge rows."""
        if training and self.knowledge_dropout_rate > 0:
            rows = {source: self._hide_some(rows[source]) for source in self.sources}
        distinct = {source: tf.unique(rows[source]) for source in self.sources}
        augmented = self._of_rows({source: found.y for source, found in distinct.items()}, training)
        return {
            source: tf.gather(augmented[source], distinct[source].idx) for source in self.sources
        }

    def gates(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Gate weights of knowledge rows: source -> [n, experts], shared experts first."""
        return self.network.gates(self._knowledge(rows))

    def augmented_tables(self) -> dict[str, np.ndarray]:
        """Augmented vectors of all rows, for export: source -> [rows, width], row 0 the default."""
        compute = tf.function(
            lambda rows: self._of_rows(rows, training=False),
            input_signature=[{source: tf.TensorSpec([None], tf.int32) for source in self.sources}],
        )
        parts: dict[str, list[np.ndarray]] = {source: [] for source in self.sources}
        longest = max(table.num_rows for table in self.tables.values())
        for start in range(0, longest, _EXPORT_CHUNK):
            rows = {
                source: tf.range(
                    min(start, table.num_rows), min(start + _EXPORT_CHUNK, table.num_rows)
                )
                for source, table in self.tables.items()
            }
            for source, vectors in compute(rows).items():
                parts[source].append(vectors.numpy())
        return {source: np.concatenate(chunks) for source, chunks in parts.items()}

    def _of_rows(
        self, rows: Mapping[str, tf.Tensor], training: bool | None
    ) -> dict[str, tf.Tensor]:
        augmented = self.network(self._knowledge(rows), training=training)
        return {
            source: tf.where(
                (rows[source] == MISSING_ROW)[:, tf.newaxis],
                tf.cast(self._defaults[source], augmented[source].dtype),
                augmented[source],
            )
            for source in self.sources
        }

    def _knowledge(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {source: self.tables[source].vectors(rows[source]) for source in self.sources}

    def _hide_some(self, rows: tf.Tensor) -> tf.Tensor:
        hidden = tf.random.uniform(tf.shape(rows)) < self.knowledge_dropout_rate
        return tf.where(hidden, MISSING_ROW, rows)


class AugmentedTables(tf.Module):
    """Stored augmented vectors: what an export has in place of knowledge vectors and HEIN."""

    def __init__(self, tables: Mapping[str, np.ndarray], dtype: tf.DType = tf.float32):
        """Creates one variable per source from [rows, width] arrays, kept as `dtype`."""
        super().__init__(name="augmented_tables")
        self._tables = {
            source: tf.Variable(table, trainable=False, dtype=dtype, name=f"{source}_augmented")
            for source, table in tables.items()
        }

    def __call__(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Augmented vectors of knowledge rows: source -> float32 [n, width]."""
        return {
            source: tf.cast(tf.gather(table, rows[source]), tf.float32)
            for source, table in self._tables.items()
        }
