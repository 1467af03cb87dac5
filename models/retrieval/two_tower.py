"""Two towers: a vector of the user and one of the item, which meet in an inner product only."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, flat
from models.layer_support import PACKAGE, one_of, positive, positive_count
from models.layers.top_network import top_network
from models.retrieval.base import POOLINGS, HistoryPooling, ItemInputs, UserInputs


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TwoTower(Backbone):
    """Encodes users and items apart, so that item vectors can be computed before any request.

    user = unit(W_u MLP_u([interest, numeric, side]) + b_u)
    item = unit(W_i MLP_i([fields, numeric, side]) + b_i)
    score = user' item / temperature

    Without `normalize` vectors are not scaled to length 1 and b_i is left out. The interest is
    pooled from the history without the candidate (`HistoryPooling`). Two-tower models with softmax
    over the batch: "Cross-Batch Negative Sampling for Training Two-Tower Recommenders" (arXiv
    2110.15154); the loss is in `models.retrieving`.

    Vectors are float32 under any precision policy, because a search compares close scores.

    Shapes: `UserInputs` of m users, `ItemInputs` of n items -> [m, output_units],
      [n, output_units].

    Attributes:
      top_units: widths of the dense network of each tower.
      dropout_rate: dropout after each of its layers.
      output_units: width of the vectors.
      temperature: what inner products are divided by in the loss; 0.05 to 0.2 for unit vectors.
      normalize: whether vectors have length 1. Without it popular items may have long vectors; a
        temperature of 1 is then the usual one.
      pooling: how the history is pooled, "attention" or "mean".
      interest_units: width of the pooled history.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        output_units: int = 32,
        temperature: float = 0.1,
        normalize: bool = True,
        pooling: str = "attention",
        interest_units: int = 64,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(output_units=output_units, interest_units=interest_units)
        positive(temperature=temperature)
        one_of(POOLINGS, pooling=pooling)
        self.output_units = output_units
        self.temperature = temperature
        self.normalize = normalize
        self.pooling = pooling
        self.interest_units = interest_units
        self._interest = HistoryPooling(interest_units, pooling)
        self._user_network = top_network(top_units, dropout_rate, name="user_network")
        self._user_output = tf.keras.layers.Dense(output_units)
        self._item_network = top_network(top_units, dropout_rate, name="item_network")
        # Without normalisation a bias adds the same to the scores of all items, and cannot learn.
        self._item_output = tf.keras.layers.Dense(output_units, use_bias=normalize)

    def call(
        self, inputs: tuple[UserInputs, ItemInputs], training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors of users and items."""
        users, items = inputs
        # Keras gives plain lists when it reloads a functional model.
        return (
            self.user_vectors(UserInputs(*users), training),
            self.item_vectors(ItemInputs(*items), training),
        )

    def user_vectors(self, users: UserInputs, training: bool | None = None) -> tf.Tensor:
        """Vectors of users, [m, output_units]."""
        interest = self._interest((users.history, users.history_mask))
        joined = self._joined(interest, users.numeric, flat(users.side_fields))
        return self._vectors(self._user_output(self._user_network(joined, training=training)))

    def item_vectors(self, items: ItemInputs, training: bool | None = None) -> tf.Tensor:
        """Vectors of items, [n, output_units]."""
        joined = self._joined(flat(items.fields), items.numeric, flat(items.side_fields))
        return self._vectors(self._item_output(self._item_network(joined, training=training)))

    def _joined(self, *parts: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(part, self.compute_dtype) for part in parts], axis=1)

    def _vectors(self, outputs: tf.Tensor) -> tf.Tensor:
        vectors = tf.cast(outputs, tf.float32)
        return tf.math.l2_normalize(vectors, axis=1) if self.normalize else vectors
