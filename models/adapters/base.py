"""What every adapter does: knowledge rows in, augmented vectors out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.adapters.standardization import Standardization
from models.knowledge import MISSING_ROW, KnowledgeTable
from models.layers.random_numbers import RandomNumbers
from models.row_chunks import row_chunks

Tensors = Mapping[str, tf.Tensor]


class KnowledgeAdapter(tf.keras.layers.Layer):
    """Turns knowledge rows of several sources into augmented vectors, the ranking model's fields.

    A kind of adapter says in `_augment` how; everything around it is here. Augmented vectors are
    computed once per distinct row of a call. Row 0 ("missing") gives a trained default vector per
    source; `knowledge_dropout_rate` hides knowledge at random in training, so that the default is
    learned and cold users and items are served sensibly.

    Shapes: source -> rows int [...] in; source -> [..., width] out. A call may name some of the
      sources only, and every source may have a shape of its own.

    Attributes:
      tables: source -> knowledge table, in output order.
      width: width of the augmented vectors.
      knowledge_dropout_rate: share of rows replaced by row 0 in training.
      standardized: whether every component of a source's vectors gets mean 0 and deviation 1 over
        the rows of its table (`models.adapters.standardization.Standardization`).
    """

    def __init__(
        self,
        tables: Mapping[str, KnowledgeTable],
        width: int,
        knowledge_dropout_rate: float = 0.0,
        standardized: bool = False,
        **kwargs: object,
    ):
        """Connects the tables.

        Raises:
          ValueError: no table.
        """
        super().__init__(**kwargs)
        if not tables:
            raise ValueError("an adapter needs the knowledge table of at least one source")
        self.tables = dict(tables)
        self.width = width
        self.knowledge_dropout_rate = knowledge_dropout_rate
        self.standardized = standardized
        self._random_numbers = RandomNumbers()
        self._standardizations = (
            {source: Standardization(table) for source, table in tables.items()}
            if standardized
            else {}
        )
        self._defaults = {
            source: self.add_weight(name=f"default_{source}", shape=(width,), initializer="zeros")
            for source in tables
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return tuple(self.tables)

    def call(self, rows: Tensors, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Augmented vectors of knowledge rows, in the order of `sources`.

        Raises:
          ValueError: a source that the adapter does not have.
        """
        given = self._checked(rows)
        if training and self.knowledge_dropout_rate > 0:
            given = {source: self._hide_some(of_source) for source, of_source in given.items()}
        distinct = {
            source: tf.unique(tf.reshape(of_source, [-1])) for source, of_source in given.items()
        }
        augmented = self._of_rows({source: found.y for source, found in distinct.items()}, training)
        return {
            source: tf.gather(augmented[source], _shaped_like(of_source, distinct[source].idx))
            for source, of_source in given.items()
        }

    def defaults(self) -> dict[str, tf.Tensor]:
        """The trained vectors of entities without knowledge: source -> [width]."""
        return {
            source: tf.cast(default, self.compute_dtype)
            for source, default in self._defaults.items()
        }

    def vectors(self, source: str, rows: tf.Tensor) -> tf.Tensor:
        """Knowledge vectors as the adapter reads them: int [...] -> [..., dimension]."""
        vectors = self.tables[source].vectors(rows)
        return self._standardizations[source](vectors) if self.standardized else vectors

    def augmented_tables(self) -> dict[str, np.ndarray]:
        """`augmented_table` of all sources: source -> [rows, width]."""
        return {source: self.augmented_table(source) for source in self.sources}

    def augmented_table(self, source: str) -> np.ndarray:
        """Augmented vectors of a source's rows, for export: [rows, width], row 0 the default."""
        compute = tf.function(
            lambda rows: self({source: rows}, training=False)[source],
            input_signature=[tf.TensorSpec([None], tf.int32)],
        ).get_concrete_function()
        table = np.empty([self.tables[source].num_rows, self.width], np.float32)
        for rows in row_chunks(0, len(table)):
            table[rows] = compute(tf.constant(rows)).numpy()
        return table

    def augment_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        """Augmented vectors of entities that the tables do not have.

        Args:
          source: one of `sources`.
          vectors: [n, dimension], their knowledge vectors; rounded to float16 as a table's are.

        Returns:
          [n, width].
        """
        vectors = tf.cast(tf.cast(vectors, tf.float16), tf.float32)
        if self.standardized:
            vectors = self._standardizations[source](vectors)
        return self._augment_vectors(source, vectors)

    @abstractmethod
    def _augment_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        """[n, width] of knowledge vectors as `vectors` gives them, [n, dimension]."""

    @abstractmethod
    def _augment(self, rows: Tensors, training: bool | None) -> Tensors:
        """Augmented vectors of rows, all sources: source -> int [n] to source -> [n, width].

        Row 0 is replaced by the default afterwards.
        """

    def _of_rows(self, rows: Tensors, training: bool | None) -> dict[str, tf.Tensor]:
        augmented = self._augment(self._completed(rows), training)
        return {
            source: tf.where(
                (of_source == MISSING_ROW)[:, tf.newaxis],
                tf.cast(self._defaults[source], augmented[source].dtype),
                augmented[source],
            )
            for source, of_source in rows.items()
        }

    def _checked(self, rows: Tensors) -> dict[str, tf.Tensor]:
        unknown = sorted(set(rows) - set(self.sources))
        if unknown:
            raise ValueError(f"there is no table for {unknown}, only for {list(self.sources)}")
        return {
            source: tf.convert_to_tensor(rows[source]) for source in self.sources if source in rows
        }

    def _completed(self, rows: Tensors) -> dict[str, tf.Tensor]:
        """All sources; those that a call leaves out have no rows."""
        return {source: rows.get(source, tf.zeros([0], tf.int32)) for source in self.sources}

    def _hide_some(self, rows: tf.Tensor) -> tf.Tensor:
        hidden = self._random_numbers.uniform(tf.shape(rows)) < self.knowledge_dropout_rate
        return tf.where(hidden, tf.cast(MISSING_ROW, rows.dtype), rows)


def _shaped_like(rows: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.reshape(positions, tf.shape(rows)), rows.shape)
