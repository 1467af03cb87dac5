"""Knowledge match: how the candidate resembles what this user rated, in knowledge space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import tensorflow as tf

from configs.model import Match
from models.layer_support import PACKAGE
from models.match.kinds import MEANS_LENGTH_SCALES, MatchMethod
from models.match.ridge import PositiveParameter, exact_ridge, low_rank_ridge
from models.match.tables import (
    ItemTables,
    MatchTables,
    Reduction,
    StoredItemTables,
    TableSizes,
    widened,
)


def candidates_by_user(candidate_rows: tf.Tensor, history_rows: tf.Tensor) -> tf.Tensor:
    """Candidates as [users, candidates of each], so that each user's history is read once.

    Args:
      candidate_rows: int [n], with n histories or one, or [users, candidates].
      history_rows: int [users, length].

    Raises:
      ValueError: n candidates come with neither n histories nor one.
    """
    if candidate_rows.shape.rank == 2:
        return candidate_rows
    users, count = history_rows.shape[0], candidate_rows.shape[0]
    if users == 1:
        return candidate_rows[tf.newaxis]
    if users is not None and users == count:
        return candidate_rows[:, tf.newaxis]
    if users is not None and count is not None:
        raise ValueError(
            f"{count} candidates need as many histories, or one. Received: {users} histories"
        )
    users, count = tf.shape(history_rows)[0], tf.shape(candidate_rows)[0]
    # Any other number of histories has no such shape and fails when the graph runs.
    return tf.reshape(candidate_rows, [users, tf.where(users == count, 1, count)])


_CHUNKS_AT_ONCE = 4


def in_chunks(
    function: Callable[..., tf.Tensor], tensors: Sequence[tf.Tensor], rows: int
) -> tf.Tensor:
    """Applies a function of aligned tensors to a few rows at a time.

    The intermediate results of a whole batch (a matrix per row) are written to main memory and read
    back by the next operation, which costs more than computing them; those of a chunk are not.

    Args:
      function: tensors [k, ...] -> [k, items, features], row by row.
      tensors: of one length.
      rows: length of a chunk.

    Returns:
      The function's result over all rows.
    """
    length = tensors[0].shape[0]
    if length is not None and length <= rows:
        return function(*tensors)
    chunks = tf.maximum((tf.shape(tensors[0])[0] + rows - 1) // rows, 1)
    results = tf.TensorArray(tf.float32, size=chunks, infer_shape=False)

    def one_chunk(index: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        chunk = slice(index * rows, (index + 1) * rows)
        return index + 1, results.write(index, function(*(tensor[chunk] for tensor in tensors)))

    _, results = tf.while_loop(
        lambda index, _: index < chunks,
        one_chunk,
        [0, results],
        parallel_iterations=_CHUNKS_AT_ONCE,
    )
    return results.concat()


def means_features(
    candidates: tf.Tensor,
    history: tf.Tensor,
    residuals: tf.Tensor,
    liked: tf.Tensor,
    mask: tf.Tensor,
    length_scales: tf.Tensor,
) -> tf.Tensor:
    """Mean residuals near the candidate, and its cosines with what was liked and disliked.

    For each length scale l: sum_j w_j e_j / sum_j w_j with w_j = exp((cos(v_i, v_j) - 1) / l); then
    the cosines between v_i and the sum of liked and of disliked vectors; then the largest cosine to
    a liked and to a disliked vector. What does not exist is 0.

    Args:
      candidates: [users, candidates, width], of length 1 or 0.
      history: [users, length, width], likewise.
      residuals: [users, length], 0 where the mask is.
      liked: [users, length], 1 or 0.
      mask: [users, length], 1 or 0.
      length_scales: [2].

    Returns:
      [users, candidates, 6].
    """
    cosines = tf.linalg.matmul(candidates, history, transpose_b=True)
    features = []
    targets = tf.stack([residuals, mask], axis=2)
    hidden = tf.where(mask > 0, 0.0, -1e9)[:, tf.newaxis]
    for length_scale in tf.unstack(length_scales):
        exponents = (cosines - 1.0) / length_scale + hidden
        # The largest exponent is taken out, or distant histories would divide tiny numbers.
        largest = tf.reduce_max(exponents, axis=2, keepdims=True)
        sums = tf.linalg.matmul(tf.exp(exponents - tf.stop_gradient(largest)), targets)
        features.append(tf.math.divide_no_nan(sums[:, :, 0], sums[:, :, 1]))
    sides = (liked * mask, (1.0 - liked) * mask)
    shares = tf.stack(sides, axis=1)
    squared_norms = tf.reduce_sum(tf.square(tf.linalg.matmul(shares, history)), axis=2)
    inner_products = tf.linalg.matmul(cosines, shares, transpose_b=True)
    norms = tf.sqrt(squared_norms)[:, tf.newaxis]
    features += tf.unstack(tf.math.divide_no_nan(inner_products, norms), axis=2)
    for side in sides:
        share = side[:, tf.newaxis]
        largest = tf.reduce_max(tf.where(share > 0, cosines, -1.0), axis=2)
        features.append(tf.where(tf.reduce_any(share > 0, axis=2), largest, 0.0))
    return tf.stack(features, axis=2)


_USERS_AT_ONCE = {"low_rank": 64, "exact": 16}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgeMatch(tf.keras.layers.Layer):
    """Compares candidates with a rated history in knowledge space.

    With e_j = r_j - m_j the rating of history item j less that item's mean: "means" gives six
    features (`models.match.layer`), "ridge" the mean and deviation of a kernel ridge regression of
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
    def trained_method(self) -> MatchMethod:
        """The method with the parameters as they are now."""
        if not self.is_learned or self.kind != "ridge":
            return self.method
        return replace(
            self.method,
            length_scale=float(self._length_scale()),
            bias=float(self._bias()),
            noise=float(self._noise()),
        )

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
        has_knowledge = (candidates > 0)[:, :, tf.newaxis]
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
        features = tf.reshape(tf.where(has_knowledge, features, missing), shape)
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

        See `models.match.tables.ItemTables.stored`.
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
        candidate_positions, history_positions = tf.split(positions, sizes)
        return (
            features,
            tf.reshape(candidate_positions, tf.shape(candidates)),
            tf.reshape(history_positions, tf.shape(history)),
        )


def _vectors(table: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.gather(table, slots), tf.float32)
