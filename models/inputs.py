"""From raw ids and numbers to model inputs: the parameter-free half of every ranking model.

The same object prepares training examples and served requests, so the two cannot drift apart.
Nothing in it is trained; a trainer may therefore prepare each example once and keep the result for
all epochs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.catalogue import Catalogue
from models.knowledge import EntityIndex
from models.match import KnowledgeMatch

USER_STATISTICS = ("user_share_liked", "user_mean_rating", "user_log_count")
Tensors = Mapping[str, tf.Tensor]


class InputPreparation(tf.Module):
    """Looks raw ids up and computes everything that depends on no trained weight.

    Raw features: `item_id` [n] strings; `user_id`, `user_share_liked`, `user_mean_rating` and
    `user_log_count` [n or 1]; `history_item_id` strings and `history_rating` [n or 1, length],
    newest last, padded anywhere with empty ids; optionally `user_fold` int [n], given for training
    samples only (`models.catalogue.Catalogue`). With user features of batch 1 all n candidates
    share one user, whose side is computed once.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        item_knowledge_rows: Mapping[str, np.ndarray],
        user_knowledge_index: Mapping[str, EntityIndex],
        attention_history_length: int,
        positive_rating: float,
        match: KnowledgeMatch | None = None,
        match_rows: np.ndarray | None = None,
        match_history_length: int = 200,
    ):
        """Connects the tables.

        Args:
          catalogue: the items.
          item_knowledge_rows: item source with a tower -> [items + 1], knowledge row of each
            catalogue row.
          user_knowledge_index: user source with a tower -> index from user id to knowledge row.
          attention_history_length: newest interactions that attention sees.
          positive_rating: rating from which an interaction counts as liked.
          match: knowledge match, or None.
          match_rows: [items + 1], row in the match's item table of each catalogue row; needed with
            `match`.
          match_history_length: newest interactions that take part in the match.
        """
        super().__init__(name="input_preparation")
        self.catalogue = catalogue
        self.match = match
        self.attention_history_length = attention_history_length
        self.match_history_length = match_history_length
        self.positive_rating = positive_rating
        self._item_knowledge_rows = {
            source: tf.Variable(rows, trainable=False, dtype=tf.int32, name=f"{source}_rows")
            for source, rows in item_knowledge_rows.items()
        }
        self._user_knowledge_index = dict(user_knowledge_index)
        self._match_rows = (
            None
            if match is None
            else tf.Variable(match_rows, trainable=False, dtype=tf.int32, name="match_rows")
        )
        self.num_numeric = len(USER_STATISTICS) + 2 + catalogue.num_numeric
        self.num_match_features = 0 if match is None else match.num_features

    def __call__(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Prepares a batch.

        Returns:
          `item_row` int32 [n]; `history_row` int32, `history_rating`, `history_mask` bool [n or 1,
          attention length]; `numeric` float [n, num_numeric]; `match` float [n,
          num_match_features]; `knowledge_row/<source>` int32 [n or 1] for every source with a
          tower.
        """
        item_rows = self.catalogue.rows(raw["item_id"])
        history_ids, ratings = _padding_first(raw["history_item_id"], raw["history_rating"])
        mask = history_ids != ""
        history_rows = self.catalogue.rows(history_ids)
        newest = slice(-self.attention_history_length, None)
        prepared = {
            "item_row": item_rows,
            "history_row": history_rows[:, newest],
            "history_rating": ratings[:, newest],
            "history_mask": mask[:, newest],
            "numeric": self._numeric(raw, item_rows),
            "match": self._match(item_rows, history_rows, ratings, mask, raw.get("user_fold")),
        }
        for source, rows_of_catalogue in self._item_knowledge_rows.items():
            prepared[knowledge_row_key(source)] = tf.gather(rows_of_catalogue, item_rows)
        for source, index in self._user_knowledge_index.items():
            prepared[knowledge_row_key(source)] = index(raw["user_id"])
        return prepared

    def _numeric(self, raw: Tensors, item_rows: tf.Tensor) -> tf.Tensor:
        user = tf.stack([tf.cast(raw[name], tf.float32) for name in USER_STATISTICS], axis=1)
        # Ratings are centred so that the network sees "above or below average" whatever the scale.
        centre = tf.constant([0.0, 1.0, 0.0])
        has_history = tf.cast(user[:, 2:] > 0, tf.float32)
        user = user - centre * self.catalogue.global_mean * has_history
        candidates = tf.shape(item_rows)[0]
        user = tf.broadcast_to(user, [candidates, len(USER_STATISTICS)])
        statistics = self.catalogue.statistics(item_rows, raw.get("user_fold"))
        attributes = tf.gather(self.catalogue.numeric, item_rows)
        return tf.concat([user, statistics, attributes], axis=1)

    def _match(
        self,
        item_rows: tf.Tensor,
        history_rows: tf.Tensor,
        ratings: tf.Tensor,
        mask: tf.Tensor,
        user_folds: tf.Tensor | None,
    ) -> tf.Tensor:
        if self.match is None:
            return tf.zeros([tf.shape(item_rows)[0], 0])
        newest = slice(-self.match_history_length, None)
        history_rows, ratings, mask = history_rows[:, newest], ratings[:, newest], mask[:, newest]
        means = self.catalogue.mean_ratings(history_rows, item_rows, user_folds)
        residuals = ratings - means
        liked = tf.cast(ratings >= self.positive_rating, tf.float32)
        return self.match(
            tf.gather(self._match_rows, item_rows),
            tf.gather(self._match_rows, history_rows),
            residuals,
            liked,
            mask,
        )


def knowledge_row_key(source: str) -> str:
    """Name of the prepared feature that holds a source's knowledge rows."""
    return f"knowledge_row/{source}"


def _padding_first(ids: tf.Tensor, ratings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves padding in front of the interactions, whose order stays: the newest are last."""
    order = tf.argsort(tf.cast(ids != "", tf.int32), axis=1, stable=True)
    return (
        tf.gather(ids, order, axis=1, batch_dims=1),
        tf.gather(ratings, order, axis=1, batch_dims=1),
    )
