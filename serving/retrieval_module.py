"""Signatures of retrieval models: search among all items, and the vectors for other indexes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.serving import IdType
from models.growing import growing_table
from models.retrieving import RetrievalModel
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID
from serving.ranking_module import SCORE
from serving.serving_module import ServingModule, Tensors

RETRIEVED_ITEMS = 100
"""Items that a search gives; fewer when the catalogue has no more."""

_UNKNOWN_ROW = 0


def user_sources(model: RetrievalModel) -> list[str]:
    """Knowledge sources that the user's vector is computed from."""
    use = model.scorer.assembly.use
    return [*use.user_sources, *(use.item_sources if use.in_history else ())]


class RetrievalModule(ServingModule):
    """Finds the items with the largest inner products with a user's vector.

    The search is exact: one matrix product with the vectors of all items, which are stored.
    """

    def __init__(
        self,
        model: RetrievalModel,
        vectors: np.ndarray,
        item_ids: Sequence[str],
        id_type: IdType = "string",
        largest_request: int | None = None,
    ):
        """Keeps a model whose knowledge is stored.

        Args:
          model: the model.
          vectors: `all_item_vectors` of it, from before its knowledge was stored.
          item_ids: raw ids of catalogue rows 1, 2, 3, ..., from before as well.
          id_type: see `ServingModule`.
          largest_request: likewise.
        """
        super().__init__(model, id_type, largest_request)
        self._user_vectors = model.user_vectors
        self._catalogue_rows = model.inputs_preparation.catalogue.rows
        self._num_found = min(RETRIEVED_ITEMS, model.num_items)
        self._vectors = growing_table(vectors, "items/retrieved_vector")
        self._item_ids = growing_table(["", *item_ids], "items/id")

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors."""
        top_k = self._of_features(self.top_k, None, None)
        item_ids = {ITEM_ID: tf.TensorSpec([None], tf.string, name=ITEM_ID)}
        return {
            "serving_default": top_k,
            "top_k": top_k,
            "user_vectors": self._of_features(self.user_vectors, None, None),
            "item_vectors": self._of_tensors(self.item_vectors, item_ids),
        }

    def top_k(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The best items of every user, without those of the history.

        Returns:
          `item_id` and `score` [n, k], best first; "" and 0 where there are no more items.
        """
        users = self._user_vectors(raw)
        scores = tf.linalg.matmul(users, self._vectors, transpose_b=True)
        excluded = self._catalogue_rows(raw[HISTORY_ITEM_ID])
        # Padding and unknown items have row 0, which is no item to retrieve either.
        excluded = tf.pad(excluded, [[0, 0], [1, 0]], constant_values=_UNKNOWN_ROW)
        shape = tf.shape(excluded)
        of_user = tf.broadcast_to(tf.range(shape[0])[:, tf.newaxis], shape)
        where = tf.stack([of_user, excluded], axis=-1)
        nowhere = tf.fill(shape, np.float32(-np.inf))
        scores, rows = tf.math.top_k(
            tf.tensor_scatter_nd_update(scores, where, nowhere), k=self._num_found
        )
        found = tf.math.is_finite(scores)
        rows = tf.where(found, rows, _UNKNOWN_ROW)
        return {ITEM_ID: tf.gather(self._item_ids, rows), SCORE: tf.where(found, scores, 0.0)}

    def user_vectors(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Vectors of users, "vector" [n, width]."""
        return {"vector": self._user_vectors(raw)}

    def item_vectors(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Vectors of items, `item_id` [n] -> "vector" [n, width]; unknown ids share one."""
        return {"vector": tf.gather(self._vectors, self._catalogue_rows(raw[ITEM_ID]))}
