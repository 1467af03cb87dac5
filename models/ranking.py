"""The ranking model: inputs, adapter and backbone under TensorFlow Recommenders' training loop."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.adapter import HybridExpertAdapter
from models.backbones.base import BackboneInputs
from models.features import ItemEncoder
from models.inputs import InputPreparation, Tensors, knowledge_row_key

MATCH_CLIP = 5.0


class Scorer(tf.keras.layers.Layer):
    """Everything from prepared inputs to the logit: embeddings, match standardisation, backbone.

    Knowledge match features are standardised with training statistics (`set_match_statistics`),
    clipped at 5, and enter twice: among the backbone's numbers and through a direct linear term
    that starts at zero.

    Shapes: prepared inputs (`InputPreparation`) and augmented vectors source -> [n or 1, width] ->
      logits [n].
    """

    def __init__(
        self,
        items: ItemEncoder,
        backbone: tf.keras.layers.Layer,
        num_match_features: int,
        positive_rating: float,
        **kwargs: object,
    ):
        """Connects the parts."""
        super().__init__(**kwargs)
        self._items = items
        self._backbone = backbone
        self._positive_rating = positive_rating
        self._match_mean = tf.Variable(
            tf.zeros([num_match_features]), trainable=False, name="match_mean"
        )
        self._match_deviation = tf.Variable(
            tf.ones([num_match_features]), trainable=False, name="match_deviation"
        )
        self._match_term = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def set_match_statistics(self, mean: tf.Tensor, deviation: tf.Tensor) -> None:
        """Sets mean and deviation of the match features in training samples, [features] each."""
        self._match_mean.assign(mean)
        self._match_deviation.assign(tf.where(deviation > 0, deviation, 1.0))

    def call(
        self, prepared: Tensors, augmented: Tensors, training: bool | None = None
    ) -> tf.Tensor:
        """Computes logits [n]."""
        candidate, history = self._items(
            prepared["item_row"], prepared["history_row"], training=training
        )
        match = self._standardised_match(prepared["match"])
        inputs = BackboneInputs(
            candidate=candidate,
            history=self._history_steps(history, prepared["history_rating"]),
            history_mask=prepared["history_mask"],
            numeric=tf.concat([prepared["numeric"], match], axis=1),
            augmented=self._augmented_fields(augmented, candidate),
        )
        logits = self._backbone(inputs, training=training)[:, 0]
        if match.shape[1]:
            logits += self._match_term(match)[:, 0]
        return logits

    def _standardised_match(self, match: tf.Tensor) -> tf.Tensor:
        scaled = (match - self._match_mean) / self._match_deviation
        return tf.clip_by_value(scaled, -MATCH_CLIP, MATCH_CLIP)

    def _history_steps(self, history: tf.Tensor, ratings: tf.Tensor) -> tf.Tensor:
        fields, width = history.shape[2:]
        steps = tf.reshape(history, [-1, tf.shape(history)[1], fields * width])
        rating_features = tf.stack(
            [
                ratings - self._positive_rating,
                tf.cast(ratings >= self._positive_rating, tf.float32),
            ],
            axis=-1,
        )
        return tf.concat([steps, rating_features], axis=-1)

    def _augmented_fields(self, augmented: Tensors, candidate: tf.Tensor) -> tf.Tensor:
        count, width = tf.shape(candidate)[0], candidate.shape[2]
        if not augmented:
            return tf.zeros([count, 0, width])
        fields = [tf.broadcast_to(vectors, [count, width]) for vectors in augmented.values()]
        return tf.stack(fields, axis=1)


class RankingModel(tfrs.models.Model):
    """A ranking model with LLM knowledge.

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones,
    and return `logits` [n]; `probabilities` returns scores between 0 and 1. Trained with binary
    cross entropy on `label`.

    Attributes:
      inputs_preparation: the parameter-free preparation of raw features.
      adapter: knowledge rows -> augmented vectors; None without an adapter.
      scorer: prepared inputs and augmented vectors -> logits.
    """

    def __init__(
        self,
        inputs: InputPreparation,
        scorer: Scorer,
        adapter: HybridExpertAdapter | None = None,
    ):
        """Connects the parts."""
        super().__init__()
        self.inputs_preparation = inputs
        self.scorer = scorer
        self.adapter = adapter
        self.task = tfrs.tasks.Ranking(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))

    def call(self, features: Tensors, training: bool | None = None) -> tf.Tensor:
        """Logits [n] of raw or prepared features."""
        prepared = features if "item_row" in features else self.inputs_preparation(features)
        return self.scorer(prepared, self.augment(prepared, training=training), training=training)

    def probabilities(self, features: Tensors) -> tf.Tensor:
        """Scores between 0 and 1, [n]."""
        return tf.sigmoid(self(features, training=False))

    def augment(self, prepared: Tensors, training: bool | None = None) -> Mapping[str, tf.Tensor]:
        """Augmented vectors: source -> [n or 1, width]; empty without an adapter."""
        if self.adapter is None:
            return {}
        rows = {source: prepared[knowledge_row_key(source)] for source in self.adapter.sources}
        return self.adapter(rows, training=training)

    def compute_loss(self, inputs: tuple[Tensors, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Binary cross entropy of a batch of (features, labels [n])."""
        features, labels = inputs
        logits = self(features, training=training)
        return self.task(
            labels=labels[:, tf.newaxis], predictions=logits[:, tf.newaxis], compute_metrics=False
        )
