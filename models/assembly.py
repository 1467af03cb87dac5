"""From prepared inputs and augmented vectors to the inputs of a backbone or re-ranker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

from models.backbones.base import BackboneInputs
from models.features import ItemEncoder
from models.inputs import (
    NUM_USER_NUMBERS,
    Tensors,
    history_knowledge_row_key,
    knowledge_row_key,
    without_statistics,
)
from models.item_ids import TrainedIds
from models.layers.gates import FactorGate, ZeroStart
from models.layers.top_network import RandomNumbers
from models.losses import alignment_loss
from models.profiles import ProfileEncoder


class Augmented(NamedTuple):
    """Augmented vectors of a batch.

    Attributes:
      own: source -> [..., width] of the candidates, or [m, width] of the users.
      history: item source -> [m, length, width] of the history's items; empty unless they are
        inputs.
      defaults: source -> [width], the vector of entities without knowledge; in training only.
    """

    own: Mapping[str, tf.Tensor] = {}
    history: Mapping[str, tf.Tensor] = {}
    defaults: Mapping[str, tf.Tensor] = {}


class AugmentedLookup(Protocol):
    """An adapter, or the stored tables that an export has in its place."""

    @property
    def sources(self) -> Sequence[str]:
        """Sources in output order."""

    def __call__(self, rows: Mapping[str, tf.Tensor], **options: object) -> Mapping[str, tf.Tensor]:
        """Rows of any shape -> [..., width], by source."""

    def defaults(self) -> Mapping[str, tf.Tensor]:
        """The vectors of entities without knowledge, by source: [width]; for training."""


def augment(lookup: AugmentedLookup | None, prepared: Tensors, **options: object) -> Augmented:
    """Augmented vectors of candidates, users and, where they are inputs, histories.

    All rows of a source go through one call, so that every distinct row is computed once.

    Args:
      lookup: the adapter; None without one.
      prepared: prepared features, `models.inputs.InputPreparation`.
      **options: passed on, for example `training`.
    """
    if lookup is None:
        return Augmented()
    own = {source: prepared[knowledge_row_key(source)] for source in lookup.sources}
    history = {
        source: prepared[history_knowledge_row_key(source)]
        for source in lookup.sources
        if history_knowledge_row_key(source) in prepared
    }
    defaults = lookup.defaults() if options.get("training") else {}
    if not history:
        return Augmented(lookup(own, **options), {}, defaults)
    joined = {
        source: tf.concat([tf.reshape(rows, [-1]), tf.reshape(history[source], [-1])], axis=0)
        if source in history
        else rows
        for source, rows in own.items()
    }
    vectors = lookup(joined, **options)
    own_vectors, history_vectors = {}, {}
    for source, rows in own.items():
        if source not in history:
            own_vectors[source] = vectors[source]
            continue
        split = tf.split(vectors[source], [tf.size(rows), tf.size(history[source])])
        own_vectors[source] = _shaped_like(rows, split[0])
        history_vectors[source] = _shaped_like(history[source], split[1])
    return Augmented(own_vectors, history_vectors, defaults)


def _shaped_like(rows: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    shaped = tf.reshape(vectors, tf.concat([tf.shape(rows), tf.shape(vectors)[-1:]], axis=0))
    return tf.ensure_shape(shaped, [*rows.shape, vectors.shape[-1]])


MATCH_CLIP = 5.0


@dataclass(frozen=True)
class AugmentedUse:
    """How augmented vectors enter a model.

    Attributes:
      item_sources: sources of the candidate, in order.
      user_sources: sources of the user, in order.
      in_history: the candidate's vectors become fields of the candidate, and those of the history's
        items fields of its steps, so that attention compares knowledge with knowledge. A history
        says more about a new item when the two need not share an id or an attribute.
      factor_gate: the sources of an entity become one field by a learned gate.
      zero_start: fields of augmented vectors start at zero.
      alignment_weight: weight of the contrastive loss between a candidate's augmented vectors and
        its id embedding.
    """

    item_sources: Sequence[str] = ()
    user_sources: Sequence[str] = ()
    in_history: bool = False
    factor_gate: bool = False
    zero_start: bool = False
    alignment_weight: float = 0.0


class InputAssembly(tf.keras.layers.Layer):
    """Embeds items and profiles, places augmented vectors and standardises match features.

    Match features are standardised with training statistics (`set_match_statistics`) and clipped at
    5; those of a source that knows nothing of the candidate (NaN) are 0, the mean.

    With `hides_interactions` a candidate whose id is hidden in training looks like a new item: it
    has no statistics and no match with a source that is made from interactions either. Left beside
    a hidden id, these would be what a network learns to trust where it knows no id, and a new item
    has none of them. Knowledge in the place of the id stays, since a new item has it.
    (Volkovs et al., "DropoutNet", 2017, hide what preferences tell likewise.)

    Shapes: prepared features and `Augmented` -> `BackboneInputs` of `...` candidates, and
      standardised match features [..., features], which are among its numbers too.
    """

    def __init__(
        self,
        items: ItemEncoder,
        num_match_features: int,
        positive_rating: float,
        use: AugmentedUse | None = None,
        profile: ProfileEncoder | None = None,
        num_match_sources: int = 1,
        match_dropout_rate: float = 0.0,
        hides_interactions: bool = False,
        match_of_interactions: Sequence[bool] = (),
        **kwargs: object,
    ):
        """Connects the parts.

        Args:
          items: embeddings of items.
          num_match_features: match features of a candidate, as many for each match source.
          positive_rating: rating from which an interaction counts as liked.
          use: how augmented vectors enter.
          profile: embeddings of user profiles, or None.
          num_match_sources: match sources.
          match_dropout_rate: share of training samples for which a match source's features are
            hidden, as if it knew nothing of the candidate, each source on its own: a source that
            is strong where items are known must not silence those that know new items.
          hides_interactions: see the class.
          match_of_interactions: for each match source, whether it is made from interactions; empty
            if none is.
          **kwargs: Keras layer arguments.
        """
        super().__init__(autocast=False, **kwargs)
        self.hides_interactions = hides_interactions
        self._match_of_interactions = list(match_of_interactions)
        self._num_match_sources = num_match_sources
        self._match_dropout_rate = match_dropout_rate
        self._random_numbers = RandomNumbers()
        self.items = items
        self._positive_rating = positive_rating
        self.use = AugmentedUse() if use is None else use
        self.profile = profile
        self._match_mean = tf.Variable(
            tf.zeros([num_match_features]), trainable=False, name="match_mean"
        )
        self._match_deviation = tf.Variable(
            tf.ones([num_match_features]), trainable=False, name="match_deviation"
        )
        sources = {"item": self.use.item_sources, "user": self.use.user_sources}
        self._gates = {
            entity: FactorGate(name=f"{entity}_factor_gate")
            for entity, names in sources.items()
            if self.use.factor_gate and len(names) > 1
        }
        self._starts = {
            entity: ZeroStart(name=f"{entity}_zero_start")
            for entity, names in sources.items()
            if self.use.zero_start and names
        }

    def set_match_statistics(self, mean: tf.Tensor, deviation: tf.Tensor) -> None:
        """Sets mean and deviation of the match features in training samples, [features] each."""
        self._match_mean.assign(mean)
        self._match_deviation.assign(tf.where(deviation > 0, deviation, 1.0))

    def factor_weights(self, augmented: Augmented) -> dict[str, tf.Tensor]:
        """Gate weights, "item" or "user" -> [..., sources]; empty without a factor gate."""
        return {
            entity: gate.weights_of(_stacked(augmented.own, self._sources(entity)))
            for entity, gate in self._gates.items()
        }

    def call(
        self, prepared: Tensors, augmented: Augmented, training: bool | None = None
    ) -> tuple[BackboneInputs, tf.Tensor]:
        """Assembles a batch."""
        candidate, history, looks_new = self.encode_items(prepared, training)
        if self.use.alignment_weight > 0 and training:
            self.add_alignment_loss(prepared, candidate, augmented)
        side = []
        if self.use.item_sources:
            own = self.source_fields("item", augmented.own)
            if self.use.in_history:
                candidate = tf.concat([candidate, own], axis=-2)
                history = tf.concat(
                    [history, self.source_fields("item", augmented.history)], axis=-2
                )
            else:
                side.append(own)
        batch = tf.shape(prepared["item_row"])
        if self.use.user_sources:
            side.append(_for_candidates(self.source_fields("user", augmented.own), batch))
        match = self._standardised(prepared["match"])
        if training and self._match_dropout_rate > 0 and match.shape[-1]:
            match = self._hide_some_sources(match)
        numeric = prepared["numeric"]
        if looks_new is not None:
            numeric = without_statistics(numeric, looks_new, first=NUM_USER_NUMBERS)
            match = self._without_interactions(match, looks_new)
        numbers = [tf.cast(numeric, match.dtype), match]
        if self.profile is not None:
            fields, profile_numbers = self.profile(prepared, training=training)
            side.append(_for_candidates(fields, batch))
            numbers.append(_for_candidates(profile_numbers, batch))
        width = candidate.shape[-1]
        nothing = tf.zeros([*tf.unstack(batch), 0, width], candidate.dtype)
        return (
            BackboneInputs(
                candidate=candidate,
                history=self.steps(history, prepared["history_rating"]),
                history_mask=prepared["history_mask"],
                numeric=tf.concat(numbers, axis=-1),
                side_fields=tf.concat(side, axis=-2) if side else nothing,
            ),
            match,
        )

    def encode_items(
        self, prepared: Tensors, training: bool | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Fields of candidates and histories, as `models.features.ItemEncoder` gives them.

        Returns:
          Both, and the candidates that are to look like new items: bool, or None for none of them.
        """
        rows = prepared["item_row"]
        hidden = self.items.hidden_ids(rows, training)
        if not self.hides_interactions:
            return (*self.items(rows, prepared["history_row"], hidden), None)
        # Knowledge in the place of the id is what a new item has.
        without_id = hidden if isinstance(self.items.ids, TrainedIds) else None
        return (*self.items(rows, prepared["history_row"], without_id), hidden)

    def source_fields(self, entity: str, vectors: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Fields of an entity's sources: [..., sources, width], or one with a factor gate."""
        fields = _stacked(vectors, self._sources(entity))
        if entity in self._gates:
            fields = self._gates[entity](fields)[..., tf.newaxis, :]
        return self._starts[entity](fields) if entity in self._starts else fields

    def steps(self, history: tf.Tensor, ratings: tf.Tensor) -> tf.Tensor:
        """Steps of histories: item fields [m, length, fields, width] and ratings, side by side."""
        fields, width = history.shape[2:]
        steps = tf.reshape(history, [-1, tf.shape(history)[1], fields * width])
        rating_inputs = tf.stack(
            [
                ratings - self._positive_rating,
                tf.cast(ratings >= self._positive_rating, ratings.dtype),
            ],
            axis=-1,
        )
        return tf.concat([steps, tf.cast(rating_inputs, steps.dtype)], axis=-1)

    def add_alignment_loss(
        self, prepared: Tensors, candidate: tf.Tensor, augmented: Augmented
    ) -> None:
        """Adds the contrastive loss of the candidates, whose first field is their id."""
        rows = tf.reshape(prepared["item_row"], [-1])
        ids = tf.reshape(candidate[..., 0, :], [-1, candidate.shape[-1]])
        # Keras traces layers that it saves for training too, without defaults.
        for source in [name for name in self.use.item_sources if name in augmented.defaults]:
            vectors = tf.reshape(augmented.own[source], [-1, candidate.shape[-1]])
            # Knowledge that was hidden in training looks like none.
            has_knowledge = tf.reduce_any(vectors != augmented.defaults[source], axis=1)
            # An id that was hidden in training looks like that of a new item.
            has_knowledge &= tf.reduce_any(
                ids != tf.cast(self.items.ids.default(), ids.dtype), axis=1
            )
            self.add_loss(
                self.use.alignment_weight * alignment_loss(vectors, ids, rows, has_knowledge)
            )

    def _sources(self, entity: str) -> Sequence[str]:
        return self.use.item_sources if entity == "item" else self.use.user_sources

    def _hide_some_sources(self, match: tf.Tensor) -> tf.Tensor:
        sources = self._num_match_sources
        shape = tf.concat([tf.shape(match)[:-1], [sources]], axis=0)
        shown = tf.cast(
            self._random_numbers.uniform(shape) >= self._match_dropout_rate, match.dtype
        )
        return match * tf.repeat(shown, match.shape[-1] // sources, axis=-1)

    def _without_interactions(self, match: tf.Tensor, looks_new: tf.Tensor) -> tf.Tensor:
        if not any(self._match_of_interactions):
            return match
        of_interactions = tf.repeat(
            tf.constant(self._match_of_interactions),
            match.shape[-1] // len(self._match_of_interactions),
        )
        return tf.where(looks_new[..., tf.newaxis] & of_interactions, tf.zeros_like(match), match)

    def _standardised(self, match: tf.Tensor) -> tf.Tensor:
        scaled = (match - self._match_mean) / self._match_deviation
        filled = tf.where(tf.math.is_nan(match), 0.0, scaled)
        return tf.cast(tf.clip_by_value(filled, -MATCH_CLIP, MATCH_CLIP), self.compute_dtype)


def _stacked(vectors: Mapping[str, tf.Tensor], sources: Sequence[str]) -> tf.Tensor:
    return tf.stack([vectors[source] for source in sources], axis=-2)


def _for_candidates(user_values: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Repeats what belongs to the user: [m, ...] -> [n, ...], or [b, L, ...] in lists."""
    if batch.shape[0] == 2:
        user_values = user_values[:, tf.newaxis]
    inner = user_values.shape[batch.shape[0] :]
    return tf.broadcast_to(user_values, tf.concat([batch, inner], axis=0))
