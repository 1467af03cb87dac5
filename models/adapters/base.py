"""What every adapter does: knowledge rows in, augmented vectors out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from configs.model import Model
from models.knowledge import MISSING_ROW, KnowledgeTable
from models.layers.top_network import RandomNumbers
from models.vector_tables import computed_table, row_chunks


def common_options(options: Model) -> dict[str, Any]:
    """Constructor arguments that all adapters share."""
    return {
        "knowledge_dropout_rate": options.knowledge_dropout_rate,
        "standardized": options.standardized_knowledge,
    }


def require_field_width(options: Model, key: str, width: int) -> None:
    """Raises ValueError unless augmented vectors are as wide as the model's other fields.

    Args:
      options: the model's configuration.
      key: where the width was configured, e.g. "model.hein.expert_units".
      width: the last entry there.
    """
    if width != options.embedding_dimension:
        raise ValueError(
            f"an augmented vector is one more field, so the last of {key} ({width}) must equal "
            f"model.embedding_dimension ({options.embedding_dimension})"
        )


def require_one_dimension(network: str, tables: Mapping[str, KnowledgeTable]) -> None:
    """Raises ValueError unless the vectors of all sources have one width.

    Args:
      network: what the sources share, e.g. "HEIN".
      tables: source -> knowledge table.
    """
    dimensions = {source: table.dimension for source, table in tables.items()}
    if len(set(dimensions.values())) > 1:
        raise ValueError(
            f"the sources of one {network} need vectors of one width, but there are "
            + ", ".join(f"{source}: {dimension}" for source, dimension in dimensions.items())
            + "; encode them with one encoder, and with a knowledge.encoder.dimension that the "
            "smallest source can fill"
        )


def frozen_weight(layer: tf.keras.layers.Layer, name: str, values: np.ndarray) -> tf.Variable:
    """Adds a weight to a layer that holds `values`, int32 or float32, and is not trained.

    It stays in full precision where a layer computes in mixed precision, and is saved with the
    trained weights, so that what they were trained with outlives a change of the data.
    """
    dtype = tf.int32 if np.issubdtype(values.dtype, np.integer) else tf.float32
    weight = layer.add_weight(
        name=name,
        shape=values.shape,
        dtype=dtype,
        initializer="zeros",
        trainable=False,
        experimental_autocast=False,
    )
    weight.assign(values.astype(dtype.as_numpy_dtype))
    return weight


class Standardization(tf.keras.layers.Layer):
    """z_k = (x_k - m_k) / s_k, with mean m and deviation s over the rows of a table.

    Encoders give some components a mean or a spread many times that of the others, and a network
    that starts with weights of one size then sees little but those. Row 0 ("missing") does not
    count, and a component that is the same in all rows gives 0. The statistics are computed when
    the layer is made, and are saved with the weights: answers that are added later meet the scale
    that the network was trained with.

    Shapes: [..., dimension] -> [..., dimension], float32 under any precision policy.
    """

    def __init__(self, table: KnowledgeTable, **kwargs: object):
        """Computes the statistics of the table's rows."""
        kwargs.setdefault("name", f"{table.source}_standardization")
        # The difference to the mean may lie beyond the digits of a lower precision.
        super().__init__(**kwargs | {"dtype": "float32"})
        mean, scale = component_statistics(table)
        self._mean = frozen_weight(self, "mean", mean)
        self._scale = frozen_weight(self, "scale", scale)

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Standardises vectors."""
        return (vectors - self._mean) * self._scale


def component_statistics(table: KnowledgeTable) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / deviation of every component over all rows of a table but row 0.

    Returns:
      Two float64 arrays [dimension]; the second is 0 where a component is constant.
    """
    count = table.num_rows - 1
    total, squares = np.zeros(table.dimension), np.zeros(table.dimension)
    least, most = np.full(table.dimension, np.inf), np.full(table.dimension, -np.inf)
    for rows in row_chunks(1, table.num_rows):
        vectors = table.vectors(rows).numpy().astype(np.float64)
        total += vectors.sum(axis=0)
        least, most = np.minimum(least, vectors.min(axis=0)), np.maximum(most, vectors.max(axis=0))
    mean = total / count
    for rows in row_chunks(1, table.num_rows):
        squares += np.square(table.vectors(rows).numpy().astype(np.float64) - mean).sum(axis=0)
    # Rounding may give equal numbers a deviation other than 0.
    constant = least == most
    deviation = np.sqrt(squares / count)
    return mean, np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))


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
        the rows of its table (`models.adapters.base.Standardization`).
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
            given = {source: self._hide_some(source_rows) for source, source_rows in given.items()}
        distinct = {
            source: tf.unique(tf.reshape(source_rows, [-1]))
            for source, source_rows in given.items()
        }
        augmented = self._augmented_rows(
            {source: unique.y for source, unique in distinct.items()}, training
        )
        return {
            source: tf.gather(augmented[source], _shaped_like(source_rows, distinct[source].idx))
            for source, source_rows in given.items()
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

    def augmented_table(self, source: str) -> np.ndarray:
        """Augmented vectors of a source's rows, for export: [rows, width], row 0 the default."""
        return computed_table(
            lambda rows: self({source: rows}, training=False)[source],
            self.tables[source].num_rows,
            self.width,
        )

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

    def _augmented_rows(self, rows: Tensors, training: bool | None) -> dict[str, tf.Tensor]:
        augmented = self._augment(self._completed(rows), training)
        return {
            source: tf.where(
                (source_rows == MISSING_ROW)[:, tf.newaxis],
                tf.cast(self._defaults[source], augmented[source].dtype),
                augmented[source],
            )
            for source, source_rows in rows.items()
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
