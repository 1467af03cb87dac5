"""The retrieval model: two towers under TensorFlow Recommenders' retrieval task and search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.assembly import Augmented, augment
from models.inputs import (
    InputPreparation,
    Tensors,
    history_knowledge_row_key,
    knowledge_row_key,
)
from models.layer_support import precision
from models.losses import EQUAL_WEIGHTS
from models.retrieval.scoring import TowerScorer
from models.scoring_model import ModelParts, ScoringModel
from models.vector_tables import row_chunks

if TYPE_CHECKING:
    from configs.scenario import Scenario
    from models.adapters.base import KnowledgeAdapter


class RetrievalModel(ScoringModel):
    """Vectors of users and items whose inner product says what to retrieve.

    Trained by softmax over the items of the batch: with u_i and v_j the vectors, t the temperature
    and p_j the share of item j in the training interactions,

        s_ij = u_i' v_j / t - log p_j,   loss = mean_i -log(exp(s_ii) / sum_j exp(s_ij))

    where j runs over the batch without other samples of item i, under `tf.distribute` over the
    replica's part of the batch: more replicas mean fewer negatives of each sample. Other liked
    items of the same user are among the j, both those of the history and those that come later: of
    a user with a share s of the training samples, a share s of the negatives is on average too. The
    loss is that of the next item. It does not mask them, because prepared features name no user and
    hold only the newest interactions.

    Items are in the batch as often as they are popular; -log p_j takes that out of the negatives
    (the logQ correction as "Correcting the LogQ Correction", arXiv 2507.09331, describes it before
    improving on it). p_j comes from all training interactions that the catalogue counts; shares
    among liked training samples, which are what a batch holds, would be more exact and differ where
    much is rated and little liked. An item without interactions counts as one with one.

    Items that were never seen in training have vectors too, from the default id embedding,
    attributes and knowledge. Their statistics put them last, unless training has shown items
    without (`models.assembly.InputAssembly`, `hides_interactions`).

    Calls accept raw features (ids and numbers, `models.inputs.InputPreparation`) or prepared ones
    and return vectors of the users [m, width] and of their items [n, width].

    Attributes:
      kind: "retrieval".
    """

    kind = "retrieval"

    def __init__(
        self,
        inputs: InputPreparation,
        scorer: TowerScorer,
        adapter: KnowledgeAdapter | None = None,
    ):
        """Connects the parts.

        Raises:
          ValueError: the inputs have knowledge match, which needs a candidate beside the history.
        """
        super().__init__(inputs, scorer, adapter)
        if inputs.num_match_features:
            raise ValueError(
                "knowledge match compares the candidate with the history, which a retrieval model "
                "keeps apart; set model.match to none"
            )
        # TFRS layers take the global policy. Scores of a search are close to each other, and
        # bfloat16 has three digits.
        with precision("float32"):
            self.task = tfrs.tasks.Retrieval(
                loss=tf.keras.losses.CategoricalCrossentropy(
                    from_logits=True, reduction=tf.keras.losses.Reduction.SUM
                ),
                temperature=scorer.towers.temperature,
                remove_accidental_hits=True,
            )
        # As graphs: eager kernels do not read tables that another process holds.
        counts = tf.function(self._training_counts, autograph=False)(tf.range(self.num_items + 1))
        # A table of its own, because XLA cannot compile lookups in two dimensions.
        self._share_table = tf.Variable(
            counts / tf.reduce_max(counts), trainable=False, name="relative_shares"
        )
        self._compiled_item_vectors = tf.function(
            self.item_vectors, reduce_retracing=True, autograph=False
        )

    @classmethod
    def check_scenario(cls, scenario: Scenario) -> None:
        """Refuses tasks, match and weights of classes; see `ScoringModel`."""
        super().check_scenario(scenario)
        if scenario.model.match != "none":
            raise ValueError(
                "knowledge match compares the candidate with the history, which a retrieval model "
                "keeps apart; set model.match=none"
            )
        if scenario.training.class_weights != EQUAL_WEIGHTS:
            raise ValueError(
                "training.class_weights are for labels, and a retrieval model is trained on chosen "
                "items alone; set them to [1, 1]"
            )

    @classmethod
    def of_parts(cls, parts: ModelParts, scenario: Scenario) -> Self:
        """A model of one pair of towers."""
        scorer = TowerScorer(parts.assembly(), parts.backbone())
        return cls(parts.inputs, scorer, parts.adapter)

    @property
    def num_items(self) -> int:
        """Items that can be retrieved: rows 1 to `num_items` of the catalogue."""
        return self.inputs_preparation.catalogue.num_items

    def call(self, features: Tensors, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors of users [m, width] and items [n, width] of raw or prepared features."""
        prepared = self.prepared(features)
        augmented = augment(self.adapter, prepared, training=training)
        return self.scorer(prepared, augmented, training=training)

    def compute_loss(
        self, inputs: tuple[Tensors, tf.Tensor | None], training: bool = False
    ) -> tf.Tensor:
        """Loss of a batch of (features of positive samples, labels); labels are not looked at.

        Every sample needs user features of its own: m = n.
        """
        features, _ = inputs
        rows, users, items = self._pairs(features, training)
        with precision("float32"):
            total = self.task(
                users,
                items,
                candidate_sampling_probability=self._relative_shares(rows),
                candidate_ids=rows,
                compute_metrics=False,
                compute_batch_metrics=False,
            )
        return tf.math.divide_no_nan(total, tf.cast(tf.shape(rows)[0], tf.float32))

    # Not the whole loss: the task takes lengths of tensors, which needs AutoGraph.
    @tf.autograph.experimental.do_not_convert
    def _pairs(self, features: Tensors, training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Catalogue rows [n], vectors of users [m, width] and of items [n, width]."""
        prepared = self.prepared(features)
        return prepared["item_row"], *self(prepared, training=training)

    def loss_count(self, inputs: tuple[Tensors, tf.Tensor | None]) -> tf.Tensor:
        """Number of samples."""
        features, _ = inputs
        prepared = self.prepared(features)
        return tf.cast(tf.shape(prepared["item_row"])[0], tf.float32)

    def user_vectors(self, features: Tensors) -> tf.Tensor:
        """Vectors of users [m, width], of raw or prepared features; raw ones need no `item_id`."""
        if "item_row" not in features and "item_id" not in features:
            features = {**features, "item_id": tf.fill(tf.shape(features["user_id"]), "")}
        prepared = self.prepared(features)
        return self.scorer.user_vectors(prepared, self._augmented_users(prepared))

    def item_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of catalogue rows, seen in training or not: int [k] -> [k, width]."""
        numbers = self.inputs_preparation.item_numbers(rows)
        return self.scorer.item_vectors(rows, numbers, self._augmented_items(rows))

    def all_item_vectors(self) -> np.ndarray:
        """Vectors of all catalogue rows with the present weights: [num_items + 1, width].

        Row 0 is that of unknown items.
        """
        rows = row_chunks(0, self.num_items + 1)
        vectors = self._compiled_item_vectors
        return np.concatenate([vectors(tf.constant(part)).numpy() for part in rows])

    def factorized_top_k(self, ks: Sequence[int] = (10, 50, 100)) -> tfrs.metrics.FactorizedTopK:
        """Share of samples whose item is among the best k of all items, with the present weights.

        Update it with `users, items = model(features)` and the items' catalogue rows:
        `metric.update_state(users, items, true_candidate_ids=rows)`.

        Raises:
          ValueError: a k is larger than the number of items.
        """
        if max(ks) > self.num_items:
            raise ValueError(
                f"there are {self.num_items} items to retrieve, so no k may be larger. "
                f"Received: ks={tuple(ks)}"
            )
        with precision("float32"):
            search = tfrs.layers.factorized_top_k.BruteForce(k=max(ks))
            search.index(self.all_item_vectors()[1:], tf.range(1, self.num_items + 1))
        return tfrs.metrics.FactorizedTopK(candidates=search, ks=tuple(ks))

    def _augmented_users(self, prepared: Tensors) -> Augmented:
        if self.adapter is None:
            return Augmented()
        use = self.scorer.assembly.use
        own = {source: prepared[knowledge_row_key(source)] for source in use.user_sources}
        history = {
            source: prepared[history_knowledge_row_key(source)]
            for source in use.item_sources
            if use.in_history
        }
        vectors = self.adapter(own | history, training=False)
        return Augmented(
            {source: vectors[source] for source in own},
            {source: vectors[source] for source in history},
        )

    def _augmented_items(self, rows: tf.Tensor) -> Augmented:
        if self.adapter is None:
            return Augmented()
        knowledge_rows = self.inputs_preparation.item_knowledge_rows(rows)
        return Augmented(self.adapter(knowledge_rows, training=False))

    def _training_counts(self, rows: tf.Tensor) -> tf.Tensor:
        """Training interactions of items, at least one: float [...]."""
        log_counts = self.inputs_preparation.catalogue.statistics(rows)[..., 1]
        return tf.maximum(tf.math.expm1(log_counts), 1.0)

    def _relative_shares(self, rows: tf.Tensor) -> tf.Tensor:
        """Share of items in the training interactions, relative to the most popular item's.

        The softmax is the same for shares and relative shares, but TFRS raises all below 1e-6,
        which many items of a large catalogue are.
        """
        return tf.gather(self._share_table, rows)
