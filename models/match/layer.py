"""Knowledge match: how the candidate resembles what this user rated, in knowledge space.

The features are computed in the graph from the candidate, the history and its ratings, so that
training and serving share one code. Formulas and where the constants come from:
docs/knowledge_match.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import tensorflow as tf

from configs.matching import Match
from models.match.by_user import candidates_by_user
from models.match.chunks import in_chunks
from models.match.item_tables import ItemTables, StoredItemTables
from models.match.kinds import MEANS_LENGTH_SCALES, MatchMethod
from models.match.means import means_features
from models.match.parameters import PositiveParameter
from models.match.ridge import exact_ridge, low_rank_ridge
from models.match.tables import MatchTables, Reduction, TableSizes, widened
from models.registration import PACKAGE

_USERS_AT_ONCE = {"low_rank": 64, "exact": 16}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgeMatch(tf.keras.layers.Layer):
    """Compares candidates with a rated history in knowledge space.

    With e_j = r_j - m_j the rating of history item j less that item's mean: "means" gives six
    features (`models.match.means`), "ridge" the mean and deviation of a kernel ridge regression of
    e on knowledge (`models.match.ridge`), in its low-rank or its exact form.

    An item without knowledge takes no part; a candidate without knowledge has features of zeros
    unless `missing` says otherwise, and so has an empty history (ridge: the prior deviation).

    A source that is made from ratings has fold tables, each without the users of one fold: training
    samples name the fold of their user, so that no sample meets vectors made from its own label.
    Fold tables stand in weights of their own, which `store` drops.

    Shapes: candidates [n] with histories [n, length] (aligned) or [1, length] (one user: factored
      once), or candidates [users, candidates] with histories [users, length] (each factored once)
      -> [*candidates, num_features], float32 under any precision policy.

    Attributes:
      method: kind, form and parameters.
      sizes: of the item tables.
    """

    def __init__(
        self,
        kind: str,
        tables: MatchTables | np.ndarray | None = None,
        sizes: TableSizes | Mapping[str, int] | None = None,
        *,
        form: str = "low_rank",
        learned: bool = False,
        length_scale: float = 0.5,
        bias: float = 0.3,
        noise: float = 1.0,
        **kwargs: object,
    ):
        """Creates the layer over item tables, or empty when its weights are loaded later.

        Args:
          kind: "means" or "ridge".
          tables: the item tables, or one ready table [rows, width] with a row 0 of zeros.
          sizes: of the tables, when `tables` is left out.
          form: of ridge, "low_rank" or "exact".
          learned: whether length scales, bias and noise are trained.
          length_scale: of ridge's kernel.
          bias: constant part of ridge's kernel.
          noise: variance of a rating in ridge.
          **kwargs: Keras layer arguments.

        Raises:
          ValueError: the kind, form or a parameter is unknown or wrong, neither tables nor sizes
            are given, or a learned low-rank ridge gets a ready table.
        """
        # Matrices are factored in float32 whatever the precision policy.
        super().__init__(**kwargs | {"dtype": "float32"})
        self.method = MatchMethod(kind, form, learned, length_scale, bias, noise)
        if isinstance(tables, np.ndarray):
            tables = MatchTables.of_rows(tables)
        if tables is not None:
            if self.method.computes_features and tables.landmark_cosines is None:
                raise ValueError(
                    "a learned low-rank ridge needs cosines with landmarks; build it with "
                    "KnowledgeMatch.from_vectors"
                )
            sizes = tables.sizes
        elif sizes is None:
            raise ValueError("give the item tables, or sizes when their weights are loaded later")
        self.sizes = sizes if isinstance(sizes, TableSizes) else TableSizes(**sizes)
        self._tables: ItemTables | StoredItemTables = ItemTables(
            self.method, self.sizes, name="tables"
        )
        if tables is not None:
            self._tables.fill(tables)
        scales = MEANS_LENGTH_SCALES if kind == "means" else length_scale
        self._length_scale = PositiveParameter(self, "length_scale", scales, learned)
        if kind == "ridge":
            self._bias = PositiveParameter(self, "bias", bias, learned)
            self._noise = PositiveParameter(self, "noise", noise, learned)

    @classmethod
    def from_vectors(
        cls,
        kind: str,
        vectors: np.ndarray,
        options: Match | None = None,
        fold_vectors: Sequence[np.ndarray] | np.ndarray = (),
        **kwargs: Any,
    ) -> KnowledgeMatch:
        """Builds the layer over knowledge vectors.

        Args:
          kind: "means" or "ridge".
          vectors: [rows, vector width]; row i becomes row i + 1 of the table; zeros are missing.
          options: form, dimension and parameters; their defaults when left out.
          fold_vectors: [folds, rows, vector width], for a source made from ratings: its vectors
            without the users of each fold.
          **kwargs: Keras layer arguments.
        """
        options = Match() if options is None else options
        method = MatchMethod(
            kind,
            options.form,
            options.learned,
            options.length_scale,
            options.bias,
            options.noise,
        )
        tables = MatchTables.from_vectors(method, vectors, options.dimension, fold_vectors)
        return cls(tables=tables, **asdict(method), **kwargs)

    @property
    def kind(self) -> str:
        """Kind of match, "means" or "ridge"."""
        return self.method.kind

    @property
    def num_features(self) -> int:
        """Features per candidate."""
        return len(self.method.features)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        return self.method.features

    @property
    def is_learned(self) -> bool:
        """Whether the features depend on trained weights, and so change from step to step."""
        return self.method.learned

    @property
    def has_folds(self) -> bool:
        """Whether the source is made from ratings: training samples must name their fold."""
        return self.sizes.num_folds > 0

    def call(
        self,
        candidate_rows: tf.Tensor,
        history_rows: tf.Tensor,
        history_residuals: tf.Tensor,
        history_liked: tf.Tensor,
        history_mask: tf.Tensor,
        folds: tf.Tensor | None = None,
        missing: float = 0.0,
    ) -> tf.Tensor:
        """Computes the features.

        Args:
          candidate_rows: int [n] or [users, candidates], rows of the item table.
          history_rows: int [n or 1, length], or [users, length].
          history_residuals: float, shaped like the history: rating less the item's mean rating.
          history_liked: float, likewise, 1 where the rating counts as liked, else 0.
          history_mask: bool, likewise, false on padding.
          folds: int [users], fold of each history's user, for training samples; None reads the
            table made from everything, and so does a source without fold tables.
          missing: the features of a candidate without knowledge.

        Returns:
          float32 [*candidates, num_features].
        """
        candidate_rows = tf.convert_to_tensor(candidate_rows)
        history_rows = tf.convert_to_tensor(history_rows)
        table, candidates, history = self._tables.look_up(
            candidates_by_user(candidate_rows, history_rows), history_rows, folds
        )
        known = (candidates > 0)[:, :, tf.newaxis]
        takes_part = history_mask & (history > 0)
        history = tf.where(takes_part, history, 0)
        # A padded step may hold anything, also what is not a number.
        residuals = tf.where(takes_part, tf.cast(history_residuals, tf.float32), 0.0)
        if self.method.computes_features:
            table, candidates, history = self._distinct_features(table, candidates, history)

        def compare(
            candidates: tf.Tensor, history: tf.Tensor, *interactions: tf.Tensor
        ) -> tf.Tensor:
            return self._compare(
                _vectors(table, candidates), _vectors(table, history), *interactions
            )

        inputs = (
            candidates,
            history,
            residuals,
            tf.where(takes_part, tf.cast(history_liked, tf.float32), 0.0),
            tf.cast(takes_part, tf.float32),
        )
        if self.is_learned:
            # The gradient of a loop would keep what every chunk computed, and gain nothing.
            features = compare(*inputs)
        else:
            features = in_chunks(compare, inputs, _USERS_AT_ONCE[self.method.form])
        shape = tf.concat([tf.shape(candidate_rows), [self.num_features]], axis=0)
        features = tf.reshape(tf.where(known, features, missing), shape)
        return tf.ensure_shape(features, [*candidate_rows.shape, self.num_features])

    def reduce(self, vectors: np.ndarray) -> np.ndarray:
        """Table rows of new items, by the reduction that made the table.

        Args:
          vectors: [items, vector width]; zeros are missing.

        Returns:
          [items, width], float32.

        Raises:
          ValueError: the match was built over a ready table, or is stored.
        """
        return widened(self.reduction.apply(self.method, vectors), self.sizes.width)

    @property
    def reduction(self) -> Reduction:
        """What made the table, for new items.

        Raises:
          ValueError: the match was built over a ready table, or is stored for an export (`store`).
        """
        if isinstance(self._tables, StoredItemTables):
            raise ValueError("a stored match has no reduction any more; ask for it before store()")
        return self._tables.reduction

    def store(self, name: str, dtype: tf.DType) -> None:
        """Takes the form of an export, which has no reduction.

        See `models.match.item_tables.ItemTables.stored`.
        """
        self._tables = self._tables.stored(name, dtype, self._length_scale())
        self.sizes = replace(self.sizes, num_folds=0)

    def get_config(self) -> dict[str, object]:
        """Method and sizes; tables and trained parameters are saved as weights."""
        return {**super().get_config(), **asdict(self.method), "sizes": asdict(self.sizes)}

    def _compare(
        self,
        candidates: tf.Tensor,
        history: tf.Tensor,
        residuals: tf.Tensor,
        liked: tf.Tensor,
        mask: tf.Tensor,
    ) -> tf.Tensor:
        if self.kind == "means":
            return means_features(candidates, history, residuals, liked, mask, self._length_scale())
        if self.method.form == "low_rank":
            return low_rank_ridge(candidates, history, residuals, self._noise())
        return exact_ridge(
            candidates,
            history,
            residuals,
            mask,
            self._length_scale(),
            self._bias(),
            self._noise(),
        )

    def _distinct_features(
        self, table: tf.Tensor, candidates: tf.Tensor, history: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Features of the distinct items of a batch, and each item's row among them."""
        sizes = [tf.size(candidates), tf.size(history)]
        slots, positions = tf.unique(
            tf.concat([tf.reshape(candidates, [-1]), tf.reshape(history, [-1])], axis=0)
        )
        features = self._tables.nystroem_features(table, slots, self._length_scale(), self._bias())
        of_candidates, of_history = tf.split(positions, sizes)
        return (
            features,
            tf.reshape(of_candidates, tf.shape(candidates)),
            tf.reshape(of_history, tf.shape(history)),
        )


def _vectors(table: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.gather(table, slots), tf.float32)
