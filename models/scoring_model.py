"""What all models share: preparation, adapter, scorer and the step of a training."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.assembly import augment
from models.inputs import InputPreparation, Tensors, match_features

if TYPE_CHECKING:
    from configs.scenario import Scenario
    from models.adapters.base import KnowledgeAdapter
    from models.assembly import InputAssembly


class ModelParts(Protocol):
    """What a model of any kind is made of.

    Attributes:
      inputs: the preparation of raw features.
      adapter: the adapter, if its vectors are fields.
    """

    @property
    def inputs(self) -> InputPreparation:
        """The preparation of raw features."""

    @property
    def adapter(self) -> KnowledgeAdapter | None:
        """The adapter, if its vectors are fields."""

    def assembly(self) -> InputAssembly:
        """Fresh embeddings and the place of augmented vectors."""

    def backbone(self) -> Any:
        """A fresh backbone, re-ranker or pair of towers."""


class ScoringModel(tfrs.models.Model):
    """Input preparation, adapter and scorer in one model.

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones.

    A step of a training minimises the mean loss of a batch and the layers' own losses. Replicas of
    `tf.distribute` each have a part of the batch; with n_r losses in the part of replica r, and R
    replicas, its share is

        n_r / (sum_q n_q) mean loss of the part + own losses of the part / R

    so that the sums over replicas, of gradients and of what is reported, are those of the whole
    batch on one device. Layers' own losses are not always means over samples; those of a batch are
    then close to, but not, the means of those of its parts. A part needs at least one sample.

    Attributes:
      kind: of the model and of the examples that it is trained on: ctr, rerank or retrieval.
      inputs_preparation: the parameter-free preparation of raw features.
      adapter: knowledge rows -> augmented vectors; None without an adapter.
      scorer: prepared inputs and augmented vectors -> logits, or the vectors of a retrieval model;
        its `assembly` is a `models.assembly.InputAssembly`.
      learned_match: knowledge match whose kernel is trained with the model, or None; retrieval
        models have no match.
    """

    kind: ClassVar[str]

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

    @classmethod
    def check_scenario(cls, scenario: Scenario) -> None:
        """Makes sure that a model of this kind can do what a scenario asks of it.

        Raises:
          ValueError: it cannot; the message names the option.
        """
        if scenario.model.tasks:
            raise ValueError(
                f"model.tasks is for CTR models; '{scenario.model.backbone}' learns one label"
            )

    @classmethod
    @abstractmethod
    def of_parts(cls, parts: ModelParts, scenario: Scenario) -> Self:
        """Builds the model of a scenario that `check_scenario` lets pass."""

    def with_shared_weights(self) -> Self:
        """A model that scores with this one's variables, and whose parts can be replaced.

        Its layers are copies, so that to replace one leaves this model as it is.
        """
        copied = (self.inputs_preparation, self.scorer)
        parts = tf.Module()
        parts.of_model = copied
        # Tables of ids own resources, and Keras writes models to disk in order to copy them.
        shared = [
            part
            for part in parts.submodules
            if isinstance(part, (tf.keras.layers.StringLookup, tf.keras.Model))
        ]
        memo = {id(part): part for part in (*parts.variables, *shared)}
        inputs, scorer = copy.deepcopy(copied, memo)
        return self._with_parts(inputs, scorer)

    def _with_parts(self, inputs: InputPreparation, scorer: tf.keras.layers.Layer) -> Self:
        """A model with this one's adapter and options."""
        return type(self)(inputs, scorer, self.adapter)

    def call(self, features: Tensors, training: bool | None = None) -> tf.Tensor:
        """Logits of raw or prepared features."""
        prepared = self.prepared(features)
        augmented = augment(self.adapter, prepared, training=training)
        return tf.cast(self.scorer(prepared, augmented, training=training), tf.float32)

    @abstractmethod
    def loss_count(self, inputs: tuple[Tensors, tf.Tensor]) -> tf.Tensor:
        """Number of losses whose mean `compute_loss` gives, a float32 scalar."""

    def train_step(self, inputs: tuple[Tensors, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Makes a step on a batch of (features, labels); losses by name."""
        with tf.GradientTape() as tape:
            losses = self._losses_of(inputs, training=True)
            minimised = losses["total_loss"]
            if self._scales_losses:
                minimised = self.optimizer.get_scaled_loss(minimised)
        gradients = tape.gradient(minimised, self.trainable_variables)
        if self._scales_losses:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return losses

    def test_step(self, inputs: tuple[Tensors, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Losses of a batch of (features, labels) by name."""
        return self._losses_of(inputs, training=False)

    @property
    def _scales_losses(self) -> bool:
        return isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def _losses_of(self, inputs: tuple[Tensors, tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
        """This replica's share of the mean loss, of the layers' own losses, and their sum."""
        loss = self.compute_loss(inputs, training=training)
        own = tf.reduce_sum([tf.cast(tf.reduce_sum(part), tf.float32) for part in self.losses])
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            loss *= _share_of_all_replicas(self.loss_count(inputs))
            own /= replicas
        return {"loss": loss, "regularization_loss": own, "total_loss": loss + own}

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


def _share_of_all_replicas(count: tf.Tensor) -> tf.Tensor:
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.math.divide_no_nan(count, total)
