"""What a served model has in place of knowledge: everything that only depends on it, computed.

The variables' names say what a table has a row for, so that a checkpoint alone tells how further
rows are added:

    items/...                one row per item, row 0 that of unknown items
    users/...                one row per user whom knowledge knows, row 0 that of all others
    knowledge/<source>/...   one row per answer of the source, row 0 for "no answer"
    items/index/..., users/index/...   raw id -> row (`serving.id_index`)
"""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from configs.serving import NumberFormat
from models.adapters.base import KnowledgeAdapter
from models.building import AnyModel
from models.inputs import InputPreparation
from models.item_ids import KnowledgeIds, StoredIds, TrainedIds
from models.knowledge import UserRows
from models.prior import PRIOR_SUFFIX, KnowledgePrior
from models.vector_tables import AugmentedTables, growing_table
from serving.id_index import IdIndex, StoredUserRows


class StoredPrior(tf.Module):
    """What an export has of a knowledge prior: the number of each item, without what made it.

    Shapes: catalogue rows int [...] -> float32 [...].
    """

    def __init__(self, prior: KnowledgePrior):
        """Keeps the numbers of all rows."""
        super().__init__(name="stored_prior")
        numbers = prior(tf.range(prior.num_rows))
        self._numbers = growing_table(
            numbers, f"items/prior/{prior.name.removesuffix(PRIOR_SUFFIX)}"
        )

    def __call__(self, rows: tf.Tensor, folds: tf.Tensor | None = None) -> tf.Tensor:
        """Looks numbers up; requests leave no fold of users out."""
        return tf.gather(self._numbers, rows)


def with_stored_knowledge(
    model: AnyModel,
    number_format: NumberFormat = "float32",
    sources: Collection[str] | None = None,
) -> AnyModel:
    """A model with tables of results for knowledge vectors and what is trained over them.

    A user's augmented vector depends only on the user's knowledge and an item's only on the item's,
    so storing them loses nothing (REKI, arXiv 2408.10520, prestoring). The same holds for knowledge
    in place of item ids and for the knowledge prior. Tables that leave a user fold out, which only
    training samples read, are dropped, and ids move from the graph into variables.

    Item tables of a match are stored in float16 where the number format is not float32: a match
    adds up so many numbers that int8 would be felt.

    Args:
      model: a trained model, which stays as it is.
      number_format: of the stored vectors.
      sources: sources whose augmented vectors are stored; all of the adapter's if None.

    Returns:
      A model that scores as the given one and shares its other weights; it cannot be trained.

    Raises:
      models.vector_tables.UnstorableVector: a number does not fit into the number format.
      serving.id_index.IndexOverflow: two ids cannot be told apart.
    """
    model = model.with_shared_weights()
    if isinstance(model.adapter, KnowledgeAdapter):
        adapter = model.adapter
        tables = {
            source: adapter.augmented_table(source)
            for source in adapter.sources
            if sources is None or source in sources
        }
        model.adapter = AugmentedTables(tables, number_format)
    preparation, items = model.inputs_preparation, model.scorer.assembly.items
    if isinstance(items.ids, KnowledgeIds):
        items.ids = StoredIds(items.ids.table(), number_format, dtype=items.ids.dtype_policy)
    _store_lookups(preparation)
    if isinstance(items.ids, TrainedIds):
        items.ids.embedding_rows = preparation.catalogue.embedding_rows
    preparation.priors = [StoredPrior(prior) for prior in preparation.priors]
    if preparation.matches is not None:
        preparation.matches.store(tf.float32 if number_format == "float32" else tf.float16)
    return model


def _store_lookups(preparation: InputPreparation) -> None:
    users = preparation.user_rows
    if isinstance(users, UserRows) and users.sources:
        users = StoredUserRows(*users.known_users())
    preparation.store(IdIndex(preparation.catalogue.item_ids, "items"), users)
