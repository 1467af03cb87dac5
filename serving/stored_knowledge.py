"""What a served model has in place of knowledge: everything that only depends on it, computed."""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from models.adapters.base import KnowledgeAdapter
from models.adapters.stored import AugmentedTables
from models.building import AnyModel
from models.item_ids import KnowledgeIds, StoredIds
from models.prior import KnowledgePrior


class StoredPrior(tf.Module):
    """What an export has of a knowledge prior: the number of each item, without what made it.

    Shapes: catalogue rows int [...] -> float32 [...].
    """

    def __init__(self, prior: KnowledgePrior):
        """Keeps the numbers of all rows."""
        super().__init__(name="stored_prior")
        numbers = prior(tf.range(prior.num_rows))
        self._numbers = tf.Variable(numbers, trainable=False, name="prior")

    def __call__(self, rows: tf.Tensor, folds: tf.Tensor | None = None) -> tf.Tensor:
        """Looks numbers up; requests leave no fold of users out."""
        return tf.gather(self._numbers, rows)


def store_knowledge(
    model: AnyModel, dtype: tf.DType = tf.float32, sources: Collection[str] | None = None
) -> None:
    """Replaces knowledge vectors and what is trained over them by tables of the results.

    A user's augmented vector depends only on the user's knowledge and an item's only on the item's,
    so storing them loses nothing (REKI, arXiv 2408.10520, prestoring). The same holds for knowledge
    in place of item ids and for the knowledge prior. Tables that leave a user fold out, which only
    training samples read, are dropped.

    Args:
      model: a trained model; it scores as before, but cannot be trained any more.
      dtype: number format of the stored vectors.
      sources: sources whose augmented vectors are stored; all of the adapter's if None.
    """
    if isinstance(model.adapter, KnowledgeAdapter):
        tables = model.adapter.augmented_tables()
        kept = {
            source: table
            for source, table in tables.items()
            if sources is None or source in sources
        }
        model.adapter = AugmentedTables(kept, dtype)
    items = model.scorer.assembly.items
    if isinstance(items.ids, KnowledgeIds):
        items.ids = StoredIds(items.ids.table(), dtype, dtype=items.ids.dtype_policy)
    preparation = model.inputs_preparation
    preparation.catalogue.drop_folds()
    preparation.priors = [StoredPrior(prior) for prior in preparation.priors]
    if preparation.matches is not None:
        preparation.matches = preparation.matches.without_folds()
        if model.learned_match is not None:
            model.learned_match = preparation.matches
