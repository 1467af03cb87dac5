"""Augmented vectors of a batch: those of candidates, users and histories, by one call.

The candidates of a batch are [n], or [b, L] in lists; `...` stands for either. Users are m: n, or 1
when all candidates share one user, or b with lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from models.inputs import Tensors, history_knowledge_row_key, knowledge_row_key


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
