"""The re-ranking model: lists of candidates under TensorFlow Recommenders' training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import tensorflow as tf

from models.assembly import Augmented, InputAssembly
from models.inputs import InputPreparation, Tensors
from models.losses import (
    EQUAL_WEIGHTS,
    LIST_LOSSES,
    LOSS_COUNTS,
    list_probabilities,
    pointwise_loss,
)
from models.rerankers.base import ListInputs
from models.scoring_model import ModelParts, ScoringModel

if TYPE_CHECKING:
    from configs.scenario import Scenario
    from models.adapters.base import KnowledgeAdapter


class ListScorer(tf.keras.layers.Layer):
    """Everything from prepared inputs of lists to their logits.

    Standardised match features enter twice: among the re-ranker's numbers and through a direct
    linear term that starts at zero.

    Shapes: prepared features (`InputPreparation`) of lists and `Augmented` -> logits [b, L].

    Attributes:
      assembly: from prepared inputs to the re-ranker's.
    """

    def __init__(self, assembly: InputAssembly, reranker: tf.keras.layers.Layer, **kwargs: object):
        """Connects the parts."""
        super().__init__(autocast=False, **kwargs)
        self.assembly = assembly
        self._reranker = reranker
        self._match_term = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def call(
        self, prepared: Tensors, augmented: Augmented, training: bool | None = None
    ) -> tf.Tensor:
        """Computes logits [b, L]; those of padding mean nothing."""
        inputs, match = self.assembly(prepared, augmented, training=training)
        lists = ListInputs(**inputs._asdict(), candidate_mask=prepared["candidate_mask"])
        logits = self._reranker(lists, training=training)
        if match.shape[-1]:
            logits += self._match_term(match)[:, :, 0]
        return logits


class RerankingModel(ScoringModel):
    """A model that scores the candidates of a list in each other's presence.

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones,
    and return logits [b, L].

    Attributes:
      kind: "rerank".
      list_loss: "pointwise" or "listwise" (`models.losses`).
      class_weights: weights of the losses of candidates with label 0 and label 1
        (`models.losses`).
    """

    kind = "rerank"

    def __init__(
        self,
        inputs: InputPreparation,
        scorer: ListScorer,
        adapter: KnowledgeAdapter | None = None,
        list_loss: str = "pointwise",
        class_weights: Sequence[float] = EQUAL_WEIGHTS,
    ):
        """Connects the parts.

        Raises:
          ValueError: there is no such loss, or it has no classes to weight.
        """
        super().__init__(inputs, scorer, adapter)
        if list_loss not in LIST_LOSSES:
            raise ValueError(
                f"list_loss must be one of {tuple(LIST_LOSSES)}. Received: list_loss={list_loss!r}"
            )
        if list_loss != "pointwise" and tuple(class_weights) != EQUAL_WEIGHTS:
            raise ValueError(
                "class_weights are for list_loss pointwise; a list's softmax has no negatives of "
                f"its own. Received: class_weights={tuple(class_weights)}, list_loss={list_loss!r}"
            )
        self.list_loss = list_loss
        self.class_weights = tuple(class_weights)

    @classmethod
    def of_parts(cls, parts: ModelParts, scenario: Scenario) -> Self:
        """A model of one re-ranker, with the scenario's loss."""
        scorer = ListScorer(parts.assembly(), parts.backbone())
        training = scenario.training
        return cls(parts.inputs, scorer, parts.adapter, training.list_loss, training.class_weights)

    def _with_parts(self, inputs: InputPreparation, scorer: tf.keras.layers.Layer) -> Self:
        return type(self)(inputs, scorer, self.adapter, self.list_loss, self.class_weights)

    def probabilities(self, features: Tensors) -> tf.Tensor:
        """Scores between 0 and 1, [b, L]; 0 on padding.

        Trained pointwise, the probability that a candidate is liked; trained listwise, a
        candidate's share of the list, because only differences of logits were trained.
        """
        prepared = self.prepared(features)
        logits, mask = self(prepared, training=False), prepared["candidate_mask"]
        if self.list_loss == "listwise":
            return list_probabilities(logits, mask)
        return tf.where(mask, tf.sigmoid(logits), 0.0)

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs: tuple[Tensors, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Loss of a batch of (features, labels [b, L])."""
        features, labels = inputs
        prepared = self.prepared(features)
        logits, mask = self(prepared, training=training), prepared["candidate_mask"]
        if self.list_loss == "pointwise":
            return pointwise_loss(logits, labels, mask, self.class_weights)
        return LIST_LOSSES[self.list_loss](logits, labels, mask)

    def loss_count(self, inputs: tuple[Tensors, tf.Tensor]) -> tf.Tensor:
        """Number of candidates, or with listwise loss of lists that hold a positive."""
        features, labels = inputs
        prepared = self.prepared(features)
        return LOSS_COUNTS[self.list_loss](labels, prepared["candidate_mask"])
