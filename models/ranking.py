"""The ranking model: inputs, adapter and backbone under TensorFlow Recommenders' training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.adapters.base import KnowledgeAdapter
from models.assembly import Augmented, InputAssembly
from models.inputs import InputPreparation, Tensors
from models.losses import EQUAL_WEIGHTS, label_weights
from models.scoring_model import ModelParts, ScoringModel

if TYPE_CHECKING:
    from configs.scenario import Scenario


class Scorer(tf.keras.layers.Layer):
    """Everything from prepared inputs to the logits: assembly of the inputs, and a backbone a task.

    Standardised match features enter twice: among the backbone's numbers and through a direct
    linear term that starts at zero. With several tasks all share embeddings and augmented vectors,
    and each has a backbone of its own: the hard sharing that works with any backbone.

    Shapes: prepared features (`InputPreparation`) and `Augmented` -> logits [n], or [n, tasks] when
      there are several.

    Attributes:
      assembly: from prepared inputs to the backbone's.
    """

    def __init__(
        self,
        assembly: InputAssembly,
        backbones: Sequence[tf.keras.layers.Layer],
        **kwargs: object,
    ):
        """Connects the parts.

        Args:
          assembly: from prepared inputs to the backbone's.
          backbones: one for each task, the main one first.
          **kwargs: Keras layer arguments.
        """
        super().__init__(autocast=False, **kwargs)
        self.assembly = assembly
        self._backbones = list(backbones)
        self._match_terms = [
            tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros") for _ in backbones
        ]

    def call(
        self, prepared: Tensors, augmented: Augmented, training: bool | None = None
    ) -> tf.Tensor:
        """Computes logits [n] or [n, tasks]."""
        inputs, match = self.assembly(prepared, augmented, training=training)
        logits = []
        for backbone, match_term in zip(self._backbones, self._match_terms, strict=True):
            task_output = backbone(inputs, training=training)
            if match.shape[-1]:
                task_output += match_term(match)
            logits.append(task_output)
        return logits[0][:, 0] if len(logits) == 1 else tf.concat(logits, axis=1)


class RankingModel(ScoringModel):
    """A ranking model with LLM knowledge.

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones,
    and return `logits` [n], or [n, tasks]; `probabilities` returns scores between 0 and 1. Trained
    with binary cross entropy.

    Attributes:
      kind: "ctr".
      tasks: names of the further labels, in the order of the logits behind the first.
      class_weights: weights of the losses of samples with label 0 and label 1
        (`models.losses`), of every label for itself.
    """

    kind = "ctr"

    def __init__(
        self,
        inputs: InputPreparation,
        scorer: Scorer,
        adapter: KnowledgeAdapter | None = None,
        tasks: Mapping[str, float] | None = None,
        class_weights: Sequence[float] = EQUAL_WEIGHTS,
    ):
        """Connects the parts.

        Args:
          inputs: the preparation.
          scorer: the scorer, with a backbone for the label and one for each task.
          adapter: the adapter.
          tasks: further labels and the weights of their losses; the first label's is 1.
          class_weights: weights of the losses of samples with label 0 and label 1.
        """
        super().__init__(inputs, scorer, adapter)
        self.tasks = tuple(tasks or ())
        self.class_weights = tuple(class_weights)
        self._weights = [1.0, *(tasks or {}).values()]
        # Keras knows means over a batch, but not over all replicas' batches, and refuses to guess.
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(
                from_logits=True, reduction=tf.keras.losses.Reduction.SUM
            )
        )

    @classmethod
    def check_scenario(cls, scenario: Scenario) -> None:
        """Checks nothing, since ranking models take every option."""

    @classmethod
    def of_parts(cls, parts: ModelParts, scenario: Scenario) -> Self:
        """A model with a backbone for the label and one for each further task."""
        tasks = scenario.model.tasks
        backbones = [parts.backbone() for _ in range(1 + len(tasks))]
        scorer = Scorer(parts.assembly(), backbones)
        return cls(parts.inputs, scorer, parts.adapter, tasks, scenario.training.class_weights)

    def _with_parts(self, inputs: InputPreparation, scorer: tf.keras.layers.Layer) -> Self:
        weights = dict(zip(self.tasks, self._weights[1:], strict=True))
        return type(self)(inputs, scorer, self.adapter, weights, self.class_weights)

    def probabilities(self, features: Tensors) -> tf.Tensor:
        """Scores of the first label between 0 and 1, [n]."""
        scores = tf.sigmoid(self(features, training=False))
        return scores[:, 0] if self.tasks else scores

    def task_probabilities(self, features: Tensors) -> dict[str, tf.Tensor]:
        """Scores of the further labels between 0 and 1, task -> [n]."""
        if not self.tasks:
            return {}
        scores = tf.sigmoid(self(features, training=False))
        return {task: scores[:, column] for column, task in enumerate(self.tasks, start=1)}

    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs: tuple[Tensors, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Binary cross entropy of a batch of (features, labels [n] or [n, 1 + tasks])."""
        features, labels = inputs
        count = len(self._weights)
        labels = tf.reshape(labels, [-1, count])
        logits = tf.reshape(self(features, training=training), [-1, count])
        losses = [
            weight * self._mean_loss(labels[:, column], logits[:, column])
            for column, weight in enumerate(self._weights)
        ]
        return tf.add_n(losses)

    def loss_count(self, inputs: tuple[Tensors, tf.Tensor]) -> tf.Tensor:
        """Number of samples."""
        _, labels = inputs
        return tf.cast(tf.shape(labels)[0], tf.float32)

    def _mean_loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        total = self.task(
            labels=labels[:, tf.newaxis],
            predictions=logits[:, tf.newaxis],
            sample_weight=label_weights(labels, self.class_weights),
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(total, tf.cast(tf.shape(labels)[0], tf.float32))
