"""What all models share: preparation, adapter and scorer, from features to what is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.augmentation import augment
from models.inputs import InputPreparation, Tensors, match_features

if TYPE_CHECKING:
    from models.adapters.base import KnowledgeAdapter


class ScoringModel(tfrs.models.Model):
    """Input preparation, adapter and scorer in one model.

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones.

    Attributes:
      inputs_preparation: the parameter-free preparation of raw features.
      adapter: knowledge rows -> augmented vectors; None without an adapter.
      scorer: prepared inputs and augmented vectors -> logits, or the vectors of a retrieval model;
        its `assembly` is a `models.assembly.InputAssembly`.
      learned_match: knowledge match whose kernel is trained with the model, or None; retrieval
        models have no match.
    """

    def __init__(
        self,
        inputs: InputPreparation,
        scorer: tf.keras.layers.Layer,
        adapter: KnowledgeAdapter | None = None,
    ):
        """Connects the parts."""
        # Ids and ratings stay exact in mixed precision; the layers inside cast what they need.
        super().__init__(autocast=False)
        self.inputs_preparation = inputs
        self.scorer = scorer
        self.adapter = adapter
        self.learned_match = (
            inputs.matches if inputs.matches is not None and inputs.matches.is_learned else None
        )

    def call(self, features: Tensors, training: bool | None = None) -> tf.Tensor:
        """Logits of raw or prepared features."""
        prepared = self.prepared(features)
        augmented = augment(self.adapter, prepared, training=training)
        return tf.cast(self.scorer(prepared, augmented, training=training), tf.float32)

    def prepared(self, features: Tensors) -> Tensors:
        """Raw or prepared features -> prepared ones with match features."""
        prepared = features if "item_row" in features else self.inputs_preparation(features)
        if self.learned_match is not None and "match" not in prepared:
            prepared = {**prepared, "match": match_features(self.learned_match, prepared)}
        return prepared

    def set_match_statistics(self, mean: tf.Tensor, deviation: tf.Tensor) -> None:
        """Sets mean and deviation of the match features in training samples, [features] each."""
        self.scorer.assembly.set_match_statistics(mean, deviation)

    def factor_weights(self, features: Tensors) -> dict[str, tf.Tensor]:
        """What the factor gates choose: "item" -> [..., sources], "user" -> [m, sources]."""
        return self.scorer.assembly.factor_weights(augment(self.adapter, self.prepared(features)))

    def checkpoint_parts(self) -> dict[str, tf.Module]:
        """What a checkpoint holds, by name."""
        parts = {
            "scorer": self.scorer,
            "adapter": self.adapter,
            "learned_match": self.learned_match,
        }
        return {name: part for name, part in parts.items() if part is not None}
