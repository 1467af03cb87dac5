"""From prepared inputs to the vectors of users and items."""

from __future__ import annotations

import tensorflow as tf

from models.assembly import Augmented, InputAssembly
from models.inputs import NUM_USER_NUMBERS, Tensors, without_statistics
from models.profiles import profile_key
from models.retrieval.base import ItemInputs, UserInputs
from models.retrieval.two_tower import TwoTower


class TowerScorer(tf.keras.layers.Layer):
    """Gives each tower its own side of a batch, and nothing of the other.

    Shapes: prepared features and `models.assembly.Augmented` of m users and n items ->
      [m, output_units], [n, output_units].

    Attributes:
      assembly: embeddings of items and profiles, and the place of augmented vectors.
      towers: the two towers.
    """

    def __init__(self, assembly: InputAssembly, towers: TwoTower, **kwargs: object):
        """Connects the parts."""
        super().__init__(autocast=False, **kwargs)
        self.assembly = assembly
        self.towers = towers

    def call(
        self, prepared: Tensors, augmented: Augmented, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors of users and of their items."""
        fields, history, looks_new = self.assembly.encode_items(prepared, training)
        if training and self.assembly.use.alignment_weight > 0:
            self.assembly.add_alignment_loss(prepared, fields, augmented)
        numbers = prepared["numeric"][:, NUM_USER_NUMBERS:]
        if looks_new is not None:
            numbers = without_statistics(numbers, looks_new)
        return (
            self._users(prepared, history, augmented, training),
            self._items(fields, numbers, augmented, training),
        )

    def user_vectors(self, prepared: Tensors, augmented: Augmented) -> tf.Tensor:
        """Vectors of users, for inference: [m, output_units]."""
        nothing = tf.zeros([0], tf.int32)
        _, history = self.assembly.items(nothing, prepared["history_row"])
        return self._users(prepared, history, augmented, training=False)

    def item_vectors(self, rows: tf.Tensor, numbers: tf.Tensor, augmented: Augmented) -> tf.Tensor:
        """Vectors of items, for inference.

        Args:
          rows: catalogue rows, int [n].
          numbers: [n, numbers], `models.inputs.InputPreparation.item_numbers`.
          augmented: their augmented vectors.

        Returns:
          [n, output_units].
        """
        nothing = tf.zeros([1, 0], tf.int32)
        fields, _ = self.assembly.items(rows, nothing)
        return self.vectors_of_fields(fields, numbers, augmented)

    def vectors_of_fields(
        self, fields: tf.Tensor, numbers: tf.Tensor, augmented: Augmented
    ) -> tf.Tensor:
        """Vectors of items as `item_vectors`, from their fields (`models.features.ItemEncoder`)."""
        return self._items(fields, numbers, augmented, training=False)

    def _users(
        self, prepared: Tensors, history: tf.Tensor, augmented: Augmented, training: bool | None
    ) -> tf.Tensor:
        assembly = self.assembly
        mask = prepared["history_mask"]
        users = tf.shape(mask)[0]
        if augmented.history:
            history_fields = assembly.source_fields("item", augmented.history)
            history = tf.concat([history, history_fields], axis=-2)
        # Users of batch 1 stand in every row of `numeric`.
        numbers = [prepared["numeric"][:users, :NUM_USER_NUMBERS]]
        side = []
        if assembly.use.user_sources:
            side.append(assembly.source_fields("user", augmented.own))
        if assembly.profile is not None:
            keys = [profile_key(name) for name in assembly.profile.attributes]
            profile = {key: prepared[key] for key in keys}
            fields, profile_numbers = assembly.profile(profile, training=training)
            side.append(fields)
            numbers.append(tf.cast(profile_numbers, numbers[0].dtype))
        inputs = UserInputs(
            history=assembly.steps(history, prepared["history_rating"]),
            history_mask=mask,
            numeric=tf.concat(numbers, axis=1),
            side_fields=_joined_fields(side, users, history),
        )
        return self.towers.user_vectors(inputs, training=training)

    def _items(
        self, fields: tf.Tensor, numbers: tf.Tensor, augmented: Augmented, training: bool | None
    ) -> tf.Tensor:
        side = []
        if self.assembly.use.item_sources:
            side.append(self.assembly.source_fields("item", augmented.own))
        inputs = ItemInputs(
            fields=fields,
            numeric=numbers,
            side_fields=_joined_fields(side, tf.shape(fields)[0], fields),
        )
        return self.towers.item_vectors(inputs, training=training)


def _joined_fields(side: list[tf.Tensor], rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Side fields one after the other, [rows, fields, width], or none of that width."""
    return tf.concat(side, axis=1) if side else tf.zeros([rows, 0, like.shape[-1]], like.dtype)
