"""Embeddings of items: id and attributes, one field each."""

from __future__ import annotations

import tensorflow as tf

from models.catalogue import Catalogue
from models.item_ids import INITIAL_DEVIATION
from models.layers.top_network import RandomNumbers
from models.vector_tables import map_distinct


class ItemEncoder(tf.keras.layers.Layer):
    """Turns catalogue rows into fields: id embedding, then a mean embedding per attribute.

    Ids that never occurred in training share the default embedding, which id dropout teaches: a
    share `id_dropout_rate` of the candidates is shown with it in training (`hidden_ids`).

    Attributes:
      catalogue: the items.
      ids: catalogue rows -> the first field, one of `models.item_ids`; in an export that can be
        stored vectors.
      embedding_dimension: width of a field.
      id_dropout_rate: share of candidates whose id is hidden in training.
      id_regularization: L2 factor on the id embeddings of a batch.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ids: tf.keras.layers.Layer,
        embedding_dimension: int,
        id_dropout_rate: float = 0.0,
        id_regularization: float = 0.0,
        **kwargs: object,
    ):
        """Connects the catalogue's attribute tables."""
        super().__init__(**kwargs)
        self.catalogue = catalogue
        self.ids = ids
        self.embedding_dimension = embedding_dimension
        self.id_dropout_rate = id_dropout_rate
        self.id_regularization = id_regularization
        self._random_numbers = RandomNumbers()

    @property
    def num_fields(self) -> int:
        """Fields per item."""
        return 1 + len(self.catalogue.categorical)

    def build(self, input_shape: object) -> None:
        """Creates the embedding tables."""
        self._values = {
            name: self.add_weight(
                name=f"{name}_embedding",
                shape=(self.catalogue.num_values[name], self.embedding_dimension),
                initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
            )
            for name in self.catalogue.categorical
        }
        super().build(input_shape)

    def hidden_ids(self, candidate_rows: tf.Tensor, training: bool | None) -> tf.Tensor | None:
        """Draws the candidates whose id this training step hides.

        Args:
          candidate_rows: int [n], or [b, L] in lists.
          training: whether ids are hidden at all.

        Returns:
          bool, of the rows' shape; None where all ids are shown.
        """
        if not training or self.id_dropout_rate == 0:
            return None
        numbers = self._random_numbers.uniform([tf.size(candidate_rows), 1])
        return tf.reshape(numbers < self.id_dropout_rate, tf.shape(candidate_rows))

    def call(
        self,
        candidate_rows: tf.Tensor,
        history_rows: tf.Tensor,
        hidden: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Encodes candidates and histories together, every distinct item once.

        Args:
          candidate_rows: int [n], or [b, L] in lists.
          history_rows: int [m, length].
          hidden: `hidden_ids` of the candidates.

        Returns:
          Candidate fields [..., fields, width] and history fields [m, length, fields, width].
        """
        rows = tf.concat([tf.reshape(candidate_rows, [-1]), tf.reshape(history_rows, [-1])], axis=0)
        fields = map_distinct(self.encode, rows)
        candidates, history = tf.split(fields, [tf.size(candidate_rows), tf.size(history_rows)])
        if hidden is not None:
            ids = tf.where(
                tf.reshape(hidden, [-1, 1]),
                tf.cast(self.ids.default(), candidates.dtype),
                candidates[:, 0],
            )
            candidates = tf.concat([ids[:, tf.newaxis], candidates[:, 1:]], axis=1)
        return self._shaped(candidates, candidate_rows), self._shaped(history, history_rows)

    def encode(self, rows: tf.Tensor) -> tf.Tensor:
        """Fields of distinct catalogue rows: int [k] -> [k, fields, width]."""
        ids = self.ids(rows)
        if self.id_regularization > 0:
            self.add_loss(
                self.id_regularization
                * tf.reduce_mean(tf.reduce_sum(tf.square(tf.cast(ids, tf.float32)), axis=1))
            )
        return self.fields(ids, rows)

    def fields(self, ids: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Fields of items: given ones of the ids, [k, width], before those of the attributes."""
        fields = [ids]
        for name, table in self.catalogue.categorical.items():
            indices = tf.gather(table, rows)
            is_present = tf.cast(indices > 0, ids.dtype)[:, :, tf.newaxis]
            values = tf.nn.embedding_lookup(self._values[name], indices) * is_present
            fields.append(
                tf.math.divide_no_nan(
                    tf.reduce_sum(values, axis=1), tf.reduce_sum(is_present, axis=1)
                )
            )
        return tf.stack(fields, axis=1)

    def _shaped(self, fields: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        inner = [self.num_fields, self.embedding_dimension]
        shaped = tf.reshape(fields, tf.concat([tf.shape(rows), inner], axis=0))
        return tf.ensure_shape(shaped, [*rows.shape, *inner])
