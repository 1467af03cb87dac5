"""The first field of an item: its trained id embedding, or knowledge in the id's place.

The three classes have one interface. A layer maps catalogue rows, int [...], to vectors
[..., width]; `default` is the vector [width] of an item nobody knows, which id dropout shows;
`table` gives the vectors of all catalogue rows, [items + 1, width], for an export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from configs.serving import NumberFormat
from models.adapters.base import Standardization, frozen_weight
from models.adapters.linear import LinearProjection
from models.knowledge import MISSING_ROW, KnowledgeTable
from models.vector_tables import VectorTable, computed_table

INITIAL_DEVIATION = 0.05


class TrainedIds(tf.keras.layers.Layer):
    """A trained embedding per item that occurs in training; all others share the first.

    Shapes: catalogue rows int [...] -> [..., width].

    Attributes:
      width: width of the embeddings.
      embedding_rows: int [items + 1], embedding of each catalogue row.
    """

    def __init__(self, num_rows: int, width: int, embedding_rows: tf.Variable, **kwargs: object):
        """Creates the embeddings.

        Args:
          num_rows: embeddings, the first being that of unknown and new items.
          width: of an embedding.
          embedding_rows: int [items + 1], embedding of each catalogue row
            (`models.catalogue.Catalogue.embedding_rows`).
          **kwargs: Keras layer arguments.
        """
        super().__init__(**kwargs)
        self.width = width
        self.embedding_rows = embedding_rows
        self._embeddings = self.add_weight(
            name="item_id_embedding",
            shape=(num_rows, width),
            initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
        )

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks embeddings up."""
        return tf.nn.embedding_lookup(self._embeddings, tf.gather(self.embedding_rows, rows))

    def default(self) -> tf.Tensor:
        """The embedding of unknown and new items, [width]."""
        # Looked up, because the gradient of a slice is as large as the table.
        return tf.cast(tf.nn.embedding_lookup(self._embeddings, [0])[0], self.compute_dtype)

    def table(self) -> np.ndarray:
        """Embeddings of all catalogue rows, float32."""
        return self._embeddings.numpy()[self.embedding_rows.numpy()]


class KnowledgeIds(tf.keras.layers.Layer):
    """Text in place of the id: e_i = sum_s (W_s x_is + b_s) over the sources s that know item i.

    An item that no source knows has a trained default vector. Nothing is learned about a single
    item, so that new ones are as well described as old ones, at the price of all that only
    interactions tell (UniSRec, arXiv 2206.05941, calls this the inductive setting).

    Shapes: catalogue rows int [...] -> [..., width].

    Attributes:
      width: width of the vectors.
    """

    def __init__(
        self,
        tables: Mapping[str, KnowledgeTable],
        rows: Mapping[str, np.ndarray],
        width: int,
        standardized: bool = False,
        **kwargs: object,
    ):
        """Connects the tables.

        Args:
          tables: source -> knowledge table.
          rows: source -> int [items + 1], knowledge row of each catalogue row.
          width: of the vectors.
          standardized: whether every component of a source's vectors gets mean 0 and deviation 1.
          **kwargs: Keras layer arguments.

        Raises:
          ValueError: no source, or tables and rows of different sources.
        """
        super().__init__(**kwargs)
        if not tables or set(tables) != set(rows):
            raise ValueError(
                "knowledge in place of ids needs tables and rows of the same sources, at least "
                f"one. Received: tables of {sorted(tables)}, rows of {sorted(rows)}"
            )
        self.width = width
        self._tables = dict(tables)
        self._rows = {
            source: frozen_weight(self, f"{source}_rows", np.asarray(rows[source], np.int32))
            for source in tables
        }
        self._standardizations = (
            {source: Standardization(table) for source, table in tables.items()}
            if standardized
            else {}
        )
        self._projection = LinearProjection(tuple(tables), width, dtype=self.dtype_policy)
        self._default = self.add_weight(
            name="item_default",
            shape=(width,),
            initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
        )

    def build(self, input_shape: object) -> None:
        """Creates the projections."""
        self._projection.build(
            {source: [None, table.dimension] for source, table in self._tables.items()}
        )
        super().build(input_shape)

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Computes the vectors of catalogue rows."""
        flat = tf.reshape(rows, [-1])
        knowledge_rows = {source: tf.gather(table, flat) for source, table in self._rows.items()}
        projected = self._projection(
            {
                source: self._vectors(source, source_rows)
                for source, source_rows in knowledge_rows.items()
            }
        )
        has_knowledge = {
            source: (source_rows != MISSING_ROW)[:, tf.newaxis]
            for source, source_rows in knowledge_rows.items()
        }
        total = tf.add_n(
            [
                tf.where(has_knowledge[source], vectors, tf.zeros_like(vectors))
                for source, vectors in projected.items()
            ]
        )
        known_at_all = tf.reduce_any(
            tf.concat(list(has_knowledge.values()), axis=1), axis=1, keepdims=True
        )
        ids = tf.where(known_at_all, total, self.default())
        return tf.reshape(ids, tf.concat([tf.shape(rows), [self.width]], axis=0))

    def default(self) -> tf.Tensor:
        """The trained vector of items without knowledge, [width]."""
        return tf.cast(self._default, self.compute_dtype)

    def table(self) -> np.ndarray:
        """Vectors of all catalogue rows, float32."""
        (first, *_) = self._rows.values()
        return computed_table(self, first.shape[0], self.width)

    @property
    def tables(self) -> Mapping[str, KnowledgeTable]:
        """Source -> knowledge table, in the order in which the sources are summed."""
        return dict(self._tables)

    def project_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        """What a source adds to the vectors of items that the tables do not have.

        Args:
          source: one of `tables`.
          vectors: [n, dimension], their knowledge vectors; rounded to float16 as a table's are.

        Returns:
          [n, width].
        """
        vectors = tf.cast(tf.cast(vectors, tf.float16), tf.float32)
        if self._standardizations:
            vectors = self._standardizations[source](vectors)
        inputs = {
            name: vectors if name == source else tf.zeros([0, table.dimension])
            for name, table in self._tables.items()
        }
        return self._projection(inputs)[source]

    def projected_tables(self) -> dict[str, np.ndarray]:
        """What every knowledge row adds: source -> float32 [rows, width], row 0 zeros."""

        def projection(source: str) -> Callable[[tf.Tensor], tf.Tensor]:
            knowledge = self._tables[source]
            return lambda rows: self.project_vectors(source, knowledge.vectors(rows))

        return {
            source: computed_table(projection(source), table.num_rows, self.width, first=1)
            for source, table in self._tables.items()
        }

    def _vectors(self, source: str, rows: tf.Tensor) -> tf.Tensor:
        vectors = self._tables[source].vectors(rows)
        return self._standardizations[source](vectors) if self._standardizations else vectors


class StoredIds(tf.keras.layers.Layer):
    """Vectors computed beforehand: what an export has in place of knowledge and projections.

    Shapes: catalogue rows int [...] -> [..., width].

    Attributes:
      width: width of the vectors.
    """

    def __init__(
        self, table: np.ndarray, number_format: NumberFormat = "float32", **kwargs: object
    ):
        """Stores vectors [items + 1, width]; row 0 is the default."""
        super().__init__(**kwargs)
        self.width = table.shape[1]
        self._table = VectorTable(table, number_format, "items/replaced_id")

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks vectors up."""
        return tf.cast(self._table(rows), self.compute_dtype)

    def default(self) -> tf.Tensor:
        """The vector of catalogue row 0, [width]."""
        return self(tf.constant(MISSING_ROW))

    def table(self) -> np.ndarray:
        """Vectors of all catalogue rows, float32."""
        return self._table.all_rows()
