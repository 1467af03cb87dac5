"""Embeddings of items: id and attributes, one field each."""

from __future__ import annotations

import tensorflow as tf

from models.catalogue import Catalogue
from models.distinct import map_distinct

INITIAL_DEVIATION = 0.05


class ItemEncoder(tf.keras.layers.Layer):
    """Turns catalogue rows into fields: id embedding, then a mean embedding per attribute.

    Ids that never occurred in training share the default embedding (row 0), which id dropout
    teaches: a share `id_dropout_rate` of the candidates is shown with it in training.

    Shapes: rows int [...] -> [..., fields, embedding_dimension].

    Attributes:
      embedding_dimension: width of a field.
      id_dropout_rate: share of candidates whose id is hidden in training.
      id_regularization: L2 factor on the id embeddings of a batch.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        embedding_dimension: int,
        id_dropout_rate: float = 0.0,
        id_regularization: float = 0.0,
        **kwargs: object,
    ):
        """Connects the catalogue's attribute tables."""
        super().__init__(**kwargs)
        self.catalogue = catalogue
        self.embedding_dimension = embedding_dimension
        self.id_dropout_rate = id_dropout_rate
        self.id_regularization = id_regularization

    @property
    def num_fields(self) -> int:
        """Fields per item."""
        return 1 + len(self.catalogue.categorical)

    def build(self, input_shape: object) -> None:
        """Creates the embedding tables."""
        self._ids = self.add_weight(
            name="item_id_embedding",
            shape=(self.catalogue.num_trained_items + 1, self.embedding_dimension),
            initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
        )
        self._values = {
            name: self.add_weight(
                name=f"{name}_embedding",
                shape=(self.catalogue.num_values[name], self.embedding_dimension),
                initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
            )
            for name in self.catalogue.categorical
        }
        super().build(input_shape)

    def call(
        self, candidate_rows: tf.Tensor, history_rows: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes candidates and histories together, every distinct item once.

        Args:
          candidate_rows: int [n].
          history_rows: int [n or 1, length].
          training: whether ids are hidden at random.

        Returns:
          Candidate fields [n, fields, width] and history fields [n or 1, length, fields, width].
        """
        rows = tf.concat([candidate_rows, tf.reshape(history_rows, [-1])], axis=0)
        fields = map_distinct(self._encode, rows)
        candidates, history = tf.split(fields, [tf.size(candidate_rows), tf.size(history_rows)])
        if training and self.id_dropout_rate > 0:
            candidates = self._hide_some_ids(candidates)
        shape = tf.concat(
            [tf.shape(history_rows), [self.num_fields, self.embedding_dimension]], axis=0
        )
        history = tf.reshape(history, shape)
        history = tf.ensure_shape(
            history,
            [*history_rows.shape, self.num_fields, self.embedding_dimension],
        )
        return candidates, history

    def _encode(self, rows: tf.Tensor) -> tf.Tensor:
        ids = tf.gather(self._ids, tf.gather(self.catalogue.embedding_rows, rows))
        if self.id_regularization > 0:
            self.add_loss(
                self.id_regularization * tf.reduce_mean(tf.reduce_sum(tf.square(ids), axis=1))
            )
        fields = [ids]
        for name, table in self.catalogue.categorical.items():
            indices = tf.gather(table, rows)
            known = tf.cast(indices > 0, ids.dtype)[:, :, tf.newaxis]
            values = tf.gather(self._values[name], indices) * known
            fields.append(
                tf.math.divide_no_nan(tf.reduce_sum(values, axis=1), tf.reduce_sum(known, axis=1))
            )
        return tf.stack(fields, axis=1)

    def _hide_some_ids(self, candidates: tf.Tensor) -> tf.Tensor:
        hidden = tf.random.uniform([tf.shape(candidates)[0], 1]) < self.id_dropout_rate
        ids = tf.where(hidden, self._ids[0], candidates[:, 0])
        return tf.concat([ids[:, tf.newaxis], candidates[:, 1:]], axis=1)
