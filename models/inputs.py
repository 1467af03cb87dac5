"""From raw ids and numbers to model inputs: the parameter-free half of every ranking model.

The same object prepares training examples and served requests, so the two cannot drift apart.
Nothing in it is trained; a trainer may therefore prepare each example once and keep the result for
all epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from models.catalogue import NUM_ITEM_STATISTICS, Catalogue
from models.knowledge import EntityIndex, UserRows
from models.layers.masking import without_padding
from models.match import KnowledgeMatches
from models.prior import KnowledgePrior
from models.profiles import ProfileAttribute, ProfileLookup
from models.vector_tables import growing_table

USER_STATISTICS = ("user_share_liked", "user_mean_rating", "user_log_count")
NUM_USER_NUMBERS = len(USER_STATISTICS)
"""The first columns of `numeric` belong to the user, the others to the item."""

Tensors = Mapping[str, tf.Tensor]


class InputPreparation(tf.Module):
    """Looks raw ids up and computes everything that depends on no trained weight.

    Raw features: `item_id` strings [n], or [b, L] for lists of candidates, padded with empty ids;
    `user_id`, `user_share_liked`, `user_mean_rating` and `user_log_count` [m]; `history_item_id`
    strings and `history_rating` [m, length], newest last, padded anywhere with empty ids;
    `profile_<name>` [m, values] when profiles are inputs; optionally `user_fold` int [m], given for
    training samples only (`models.catalogue.Catalogue`). m is n, or 1 when all n candidates share
    one user, whose side is computed once, or b with lists.

    The rating beside an empty id may be anything, NaN and infinity included. Numbers of real
    interactions and of users are not looked at: with one that is not finite a score means nothing,
    so they are checked where they enter, before this.

    A `user_share_liked` that is NaN is not known and counted from the given history. Of implicit
    feedback (`has_ratings` is false) every interaction has the rating 1, so `history_rating`,
    `user_share_liked` and `user_mean_rating` say nothing and need not be there.

    Attributes:
      has_ratings: whether interactions differ in what users thought of them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        item_knowledge_rows: Mapping[str, np.ndarray],
        user_knowledge_index: Mapping[str, EntityIndex],
        attention_history_length: int,
        positive_rating: float,
        history_knowledge: bool = False,
        matches: KnowledgeMatches | None = None,
        match_history_length: int = 200,
        priors: Sequence[KnowledgePrior] = (),
        profile: ProfileLookup | None = None,
        has_ratings: bool = True,
    ):
        """Connects the tables.

        Args:
          catalogue: the items.
          item_knowledge_rows: item source of the adapter -> [items + 1], knowledge row of each
            catalogue row.
          user_knowledge_index: user source of the adapter -> index from user id to knowledge row.
          attention_history_length: newest interactions that attention sees.
          positive_rating: rating from which an interaction counts as liked.
          history_knowledge: whether knowledge rows are also given for the history.
          matches: knowledge match, or None.
          match_history_length: newest interactions that take part in the match.
          priors: knowledge priors, each one more number of the item.
          profile: lookup of the user's profile, or None.
          has_ratings: false for implicit feedback.
        """
        super().__init__(name="input_preparation")
        self.has_ratings = has_ratings
        self.catalogue = catalogue
        self.matches = matches
        self.priors = list(priors)
        self.attention_history_length = attention_history_length
        self.match_history_length = match_history_length
        self.positive_rating = positive_rating
        self.profile = profile
        self._in_history = history_knowledge
        self._item_knowledge_rows = {
            source: tf.Variable(rows, trainable=False, dtype=tf.int32, name=f"{source}_rows")
            for source, rows in item_knowledge_rows.items()
        }
        self.user_rows: Callable[[tf.Tensor], dict[str, tf.Tensor]] = UserRows(user_knowledge_index)
        self.num_numeric = (
            NUM_USER_NUMBERS + NUM_ITEM_STATISTICS + catalogue.num_numeric + len(self.priors)
        )
        self.num_match_features = 0 if matches is None else matches.num_features

    def store(
        self,
        lookup: Callable[[tf.Tensor], tf.Tensor],
        user_rows: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    ) -> None:
        """Takes the form of an export: tables that may grow, and nothing by fold of users.

        Args:
          lookup: see `models.catalogue.Catalogue.store`.
          user_rows: in place of the attribute of the name.
        """
        self.user_rows = user_rows
        self.catalogue.store(lookup)
        self._item_knowledge_rows = {
            source: growing_table(rows, f"items/knowledge_row/{source}")
            for source, rows in self._item_knowledge_rows.items()
        }

    @property
    def history_length(self) -> int:
        """Newest interactions that anything here reads."""
        if self.matches is None:
            return self.attention_history_length
        return max(self.attention_history_length, self.match_history_length)

    @property
    def profile_attributes(self) -> Mapping[str, ProfileAttribute]:
        """Attributes of the user's profile that are inputs, by name."""
        return {} if self.profile is None else self.profile.attributes

    def __call__(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Prepares a batch.

        Returns:
          `item_row` int32 [n] or [b, L], and with lists `candidate_mask` bool [b, L];
          `history_row` int32, `history_rating`, `history_mask` bool [m, attention length];
          `numeric` float [..., num_numeric]; `match` float [..., num_match_features], or what a
          learned match computes it from; `knowledge_row/<source>` int32, [...] of item sources and
          [m] of user sources; `history_knowledge_row/<source>` int32 [m, attention length];
          `profile/<name>` (`models.profiles.ProfileLookup`).
        """
        raw = self._completed(raw)
        item_rows = self.catalogue.rows(raw["item_id"])
        history_ids, ratings = _padding_first(raw["history_item_id"], raw["history_rating"])
        mask = history_ids != ""
        history_rows = self.catalogue.rows(history_ids)
        newest = slice(-self.attention_history_length, None)
        folds = raw.get("user_fold")
        prepared = {
            "item_row": item_rows,
            "history_row": history_rows[:, newest],
            "history_rating": ratings[:, newest],
            "history_mask": mask[:, newest],
            "numeric": self._numeric(raw, item_rows, folds),
        }
        if item_rows.shape.rank == 2:
            prepared["candidate_mask"] = raw["item_id"] != ""
        if self.matches is None:
            shape = tf.concat([tf.shape(item_rows), [0]], axis=0)
            prepared["match"] = tf.ensure_shape(tf.zeros(shape), [*item_rows.shape, 0])
        else:
            inputs = self._match_inputs(item_rows, history_rows, ratings, mask, folds)
            if self.matches.is_learned:
                prepared |= inputs
            else:
                prepared["match"] = match_features(self.matches, {**prepared, **inputs})
        for source, rows in self.item_knowledge_rows(item_rows).items():
            prepared[knowledge_row_key(source)] = rows
        if self._in_history:
            history_knowledge_rows = self.item_knowledge_rows(history_rows[:, newest])
            prepared |= {
                history_knowledge_row_key(source): rows
                for source, rows in history_knowledge_rows.items()
            }
        for source, rows in self.user_rows(raw["user_id"]).items():
            prepared[knowledge_row_key(source)] = rows
        if self.profile is not None:
            prepared |= self.profile(raw)
        return prepared

    def match_inputs(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """What knowledge match is computed from: `match_history_row` and so on, [m, length].

        The length is the match's own, longer than attention's.
        """
        raw = self._completed(raw)
        history_ids, ratings = _padding_first(raw["history_item_id"], raw["history_rating"])
        return self._match_inputs(
            self.catalogue.rows(raw["item_id"]),
            self.catalogue.rows(history_ids),
            ratings,
            history_ids != "",
            raw.get("user_fold"),
        )

    def item_knowledge_rows(self, item_rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Knowledge rows of catalogue rows, by item source of the adapter: int32 [...]."""
        return {
            source: tf.gather(rows, item_rows) for source, rows in self._item_knowledge_rows.items()
        }

    def user_numbers(self, raw: Tensors) -> tf.Tensor:
        """Running statistics of the users: float [m, 3]."""
        user = tf.stack([tf.cast(raw[name], tf.float32) for name in USER_STATISTICS], axis=1)
        # Ratings are centred so that the network sees "above or below average" whatever the scale.
        centre = tf.constant([0.0, 1.0, 0.0])
        has_history = tf.cast(user[:, 2:] > 0, tf.float32)
        return user - centre * self.catalogue.global_mean * has_history

    def item_numbers(self, item_rows: tf.Tensor, user_folds: tf.Tensor | None = None) -> tf.Tensor:
        """Statistics, numeric attributes and priors of items: float [..., numbers].

        Args:
          item_rows: catalogue rows, int [n] or [b, L].
          user_folds: int [n] or [b], folds left out of the statistics; None leaves out nothing.
        """
        parts = [
            self.catalogue.statistics(item_rows, user_folds),
            tf.gather(self.catalogue.numeric, item_rows),
        ]
        if self.priors:
            folds = None if user_folds is None else self.catalogue.folds_of(item_rows, user_folds)
            parts += [prior(item_rows, folds)[..., tf.newaxis] for prior in self.priors]
        return tf.concat(parts, axis=-1)

    def _completed(self, raw: Tensors) -> Tensors:
        """Raw features with what follows from the others, see the class."""
        is_entry = raw["history_item_id"] != ""
        if not self.has_ratings:
            once_any = tf.cast(raw["user_log_count"] > 0, tf.float32)
            return {
                **raw,
                "history_rating": tf.cast(is_entry, tf.float32),
                "user_share_liked": once_any,
                "user_mean_rating": once_any,
            }
        liked = is_entry & (raw["history_rating"] >= self.positive_rating)
        number, number_liked = (
            tf.reduce_sum(tf.cast(flags, tf.float32), axis=1) for flags in (is_entry, liked)
        )
        share = tf.cast(raw["user_share_liked"], tf.float32)
        counted = tf.math.divide_no_nan(number_liked, number)
        return {**raw, "user_share_liked": tf.where(tf.math.is_nan(share), counted, share)}

    def _numeric(
        self, raw: Tensors, item_rows: tf.Tensor, user_folds: tf.Tensor | None
    ) -> tf.Tensor:
        user = self.user_numbers(raw)
        if item_rows.shape.rank == 2:
            user = user[:, tf.newaxis]
        shape = tf.concat([tf.shape(item_rows), [NUM_USER_NUMBERS]], axis=0)
        item_columns = self.item_numbers(item_rows, user_folds)
        return tf.concat([tf.broadcast_to(user, shape), item_columns], axis=-1)

    def _match_inputs(
        self,
        item_rows: tf.Tensor,
        history_rows: tf.Tensor,
        ratings: tf.Tensor,
        mask: tf.Tensor,
        user_folds: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        newest = slice(-self.match_history_length, None)
        history_rows, ratings, mask = history_rows[:, newest], ratings[:, newest], mask[:, newest]
        residuals = self.catalogue.residuals(history_rows, ratings, item_rows, user_folds)
        inputs = {
            "match_history_row": history_rows,
            "match_history_residual": residuals,
            "match_history_liked": tf.cast(ratings >= self.positive_rating, tf.float32),
            "match_history_mask": mask,
        }
        return inputs if user_folds is None else {**inputs, "match_user_fold": user_folds}


def match_features(matches: KnowledgeMatches, prepared: Tensors) -> tf.Tensor:
    """Features of knowledge match from its prepared inputs: float32 [..., features]."""
    return matches(
        prepared["item_row"],
        prepared["match_history_row"],
        prepared["match_history_residual"],
        prepared["match_history_liked"],
        prepared["match_history_mask"],
        folds=prepared.get("match_user_fold"),
    )


def without_statistics(numbers: tf.Tensor, hidden: tf.Tensor, first: int = 0) -> tf.Tensor:
    """Numbers as new items have them, where `hidden` says so: without item statistics.

    Args:
      numbers: float [..., numbers].
      hidden: bool [...].
      first: column of the first statistic.
    """
    columns = tf.range(numbers.shape[-1])
    is_statistic = (columns >= first) & (columns < first + NUM_ITEM_STATISTICS)
    return tf.where(hidden[..., tf.newaxis] & is_statistic, tf.zeros_like(numbers), numbers)


def knowledge_row_key(source: str) -> str:
    """Name of the prepared feature that holds a source's knowledge rows."""
    return f"knowledge_row/{source}"


def history_knowledge_row_key(source: str) -> str:
    """Name of the prepared feature that holds a source's knowledge rows of the history."""
    return f"history_knowledge_row/{source}"


def _padding_first(ids: tf.Tensor, ratings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves padding in front of the interactions, whose order stays: the newest are last.

    Ratings of padding become 0, whatever they were.
    """
    ratings = without_padding(ratings, ids != "")
    order = tf.argsort(tf.cast(ids != "", tf.int32), axis=1, stable=True)
    return (
        tf.gather(ids, order, axis=1, batch_dims=1),
        tf.gather(ratings, order, axis=1, batch_dims=1),
    )
