"""What is grouped, and its vectors: co-occurrence, attributes, title words, liked items."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sparse
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

from configs.knowledge import Grouping
from configs.scenario import Scenario
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.grouping.entities import (
    DescribedItems,
    KnownInteractions,
    collect_known_interactions,
    describe_items,
)
from preprocessing.grouping.plan import Kind
from preprocessing.interactions.catalogue import read_items
from preprocessing.interactions.first_interactions import InteractionShards
from preprocessing.records.hashing import stable_hashes
from preprocessing.tables.table_reader import TableReader


def pairs_matrix(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """1 where a pair occurs, however often; the order of the pairs makes no difference.

    Args:
      rows: [pairs] row of each.
      columns: [pairs] column of each.
      shape: of the matrix.

    Returns:
      [rows, columns] float32.
    """
    ones = np.ones(len(rows), dtype=np.float32)
    matrix = sparse.csr_matrix(
        (ones, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def co_occurrence_weights(
    item_of_row: np.ndarray, user_of_row: np.ndarray, items: int, users: int
) -> sparse.csr_matrix:
    """Items by users, a user weighing the more the fewer items the user has.

    The cosine of two rows is large when the same users met both items, whatever they thought of
    them.

    Args:
      item_of_row: [interactions] number of the item.
      user_of_row: [interactions] number of the user.
      items: number of items.
      users: number of users.
    """
    return weigh_columns(pairs_matrix(item_of_row, user_of_row, (items, users)))


_NOTHING = 1e-4
"""A unit row of which the leading singular vectors capture less than this is noise."""

_POWER_ITERATIONS = 4
_LARGEST_SEED = 1 << 32


def weigh_columns(present: sparse.csr_matrix) -> sparse.csr_matrix:
    """Multiplies each column by its inverse document frequency, log((1 + rows) / (1 + its rows)).

    A column that only one row has makes nothing alike, and neither does one that all have: both
    are dropped.

    Args:
      present: [rows, columns] float32, without explicit zeros.
    """
    rows = present.shape[0]
    frequency = np.bincount(present.indices, minlength=present.shape[1])
    weight = np.where(frequency > 1, np.log((1 + rows) / (1 + frequency)), 0)
    return scale_columns(present, weight)


def scale_columns(matrix: sparse.csr_matrix, weight: np.ndarray) -> sparse.csr_matrix:
    """[rows, columns] float32 with each column multiplied by its weight; zeros are not stored."""
    scaled = matrix.copy()
    scaled.data *= weight.astype(np.float32)[scaled.indices]
    scaled.eliminate_zeros()
    return scaled


def embed(weights: sparse.csr_matrix, dimension: int, seed: int) -> np.ndarray:
    """Projects rows on the leading right singular vectors, so that cosines stay nearly the same.

    Args:
      weights: [rows, columns] float32; the length of a row does not matter.
      dimension: most columns of the result; where there are no more columns anyway, they are kept.
      seed: seed of the randomized SVD (Halko, Martinsson and Tropp 2011, algorithm 4.4).

    Returns:
      [rows, width] float32 of length 1, or 0 for a row without weights or of which the leading
      vectors capture nothing.
    """
    if not weights.nnz:
        return np.zeros([weights.shape[0], 0], dtype=np.float32)
    unit_rows = normalize(_without_empty_columns(weights))
    if unit_rows.shape[1] <= dimension:
        return unit_rows.toarray()
    width = min(dimension, unit_rows.shape[0])
    _, _, directions = randomized_svd(
        unit_rows, width, n_iter=_POWER_ITERATIONS, random_state=seed % _LARGEST_SEED
    )
    return to_unit_length(unit_rows @ directions.T.astype(np.float32))


def to_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Scales rows to length 1 in place; rows that are nearly 0 become 0. Returns the array."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > _NOTHING)
    vectors *= scale.astype(np.float32)[:, None]
    return vectors


def _without_empty_columns(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    used = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    number = np.cumsum(used) - 1
    return sparse.csr_matrix(
        (matrix.data, number[matrix.indices].astype(np.int32), matrix.indptr),
        shape=(matrix.shape[0], int(used.sum())),
    )


HASHED_COLUMNS = 1 << 18
_LARGEST_DEVIATION = 3.0
_BETWEEN_WORDS = r"[^\pL\pN]+"


def hashed_columns(values: pa.ListArray) -> sparse.csr_matrix:
    """1 where a row has a value, in the value's column.

    Args:
      values: [rows] list of texts; an empty text is no value.

    Returns:
      [rows, HASHED_COLUMNS] float32.
    """
    flat = values.flatten().dictionary_encode()
    rows = pc.list_parent_indices(values).to_numpy()
    distinct = flat.dictionary.to_pylist()
    columns = (stable_hashes(distinct, "column") % np.uint64(HASHED_COLUMNS)).astype(np.int64)
    is_value = np.array([bool(text) for text in distinct], dtype=bool)
    codes = flat.indices.to_numpy()
    kept = is_value[codes]
    return pairs_matrix(rows[kept], columns[codes[kept]], (len(values), HASHED_COLUMNS))


def words_of(titles: pa.Array) -> pa.ListArray:
    """Words of each title in lower case: runs of letters and digits of any script."""
    return pc.split_pattern_regex(pc.utf8_lower(titles), _BETWEEN_WORDS)


def standardised_column(numbers: np.ndarray) -> sparse.csr_matrix:
    """Deviations from the mean in standard deviations, cut at 3; 0 for a missing number.

    Args:
      numbers: [rows] float64, NaN for a missing one.

    Returns:
      [rows, 1] float32.
    """
    finite = np.isfinite(numbers)
    column = np.zeros(len(numbers))
    deviation = numbers[finite].std() if finite.any() else 0.0
    if deviation > 0:
        scores = (numbers[finite] - numbers[finite].mean()) / deviation
        column[finite] = np.clip(scores, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    return sparse.csr_matrix(column[:, None].astype(np.float32))


def user_vectors(judged: sparse.csr_matrix, item_vectors: np.ndarray) -> np.ndarray:
    """Mean of the items of each user, less the mean of all users.

    An item weighs log((2 + users) / (1 + its users)), so rare ones weigh more. What all users have
    in common tells none of them apart: it is taken away before the vectors are scaled to length 1.

    Args:
      judged: [users, items] float32, 1 where the user liked (or disliked) the item.
      item_vectors: [items, width] float32 of one kind of feature.

    Returns:
      [users, width] float32 of length 1, or 0 for a user whose items have no such feature, or who
      is like the mean of all.
    """
    frequency = np.bincount(judged.indices, minlength=judged.shape[1])
    weights = scale_columns(judged, np.log((2 + judged.shape[0]) / (1 + frequency)))
    totals = np.asarray(weights.sum(axis=1), dtype=np.float32).reshape(-1, 1)
    vectors = np.asarray(weights @ item_vectors)
    vectors /= np.maximum(totals, np.finfo(np.float32).tiny)
    described = vectors.any(axis=1)
    if described.any():
        vectors[described] -= vectors[described].mean(axis=0, dtype=np.float64).astype(np.float32)
    return to_unit_length(vectors)


def item_blocks(
    items: DescribedItems, interactions: KnownInteractions, grouping: Grouping
) -> Iterator[np.ndarray]:
    """Yields [items, width] float32 for each kind of feature, in the order of the configuration.

    Each block has rows of length 1, or 0 for an item without that kind of feature.

    Args:
      items: all items.
      interactions: what groups may be made from; items are numbered as in `items`.
      grouping: which kinds, how wide, and the seed.
    """
    for kind in grouping.features:
        if kind == "co_occurrence":
            weights = co_occurrence_weights(
                interactions.item_of_row,
                interactions.user_of_row,
                len(items.ids),
                len(interactions.user_ids),
            )
        elif kind == "attributes":
            weights = attribute_weights(items)
        else:
            weights = weigh_columns(hashed_columns(words_of(items.titles)))
        yield embed(weights, grouping.dimension, grouping.seed)


def attribute_weights(items: DescribedItems) -> sparse.csr_matrix:
    """All attributes side by side, each of about the same weight.

    A categorical attribute has rows of length 1, a numeric one standard deviations.

    Args:
      items: all items.

    Returns:
      [items, columns] float32.
    """
    columns = [
        normalize(weigh_columns(hashed_columns(values))) for values in items.categories.values()
    ]
    columns += [standardised_column(numbers) for numbers in items.numbers.values()]
    if not columns:
        return sparse.csr_matrix((len(items.ids), 0), dtype=np.float32)
    return sparse.hstack(columns, format="csr", dtype=np.float32)


@dataclass(frozen=True)
class Entities:
    """Items or users to be grouped.

    Attributes:
      ids: [entities] sorted.
      vectors: [entities, width] float32.
      counted: [entities] True for those that can speak for a group in a prompt.
      left_out: reason -> entities that were left out before grouping.
    """

    ids: pa.Array
    vectors: np.ndarray
    counted: np.ndarray
    left_out: dict[str, int]


def items_to_group(items: DescribedItems, blocks: Iterable[np.ndarray]) -> Entities:
    """All items; those with a title can speak for a group.

    Args:
      items: the items.
      blocks: [items, width] for each kind of feature.
    """
    return Entities(
        ids=items.ids,
        vectors=np.concatenate(list(blocks), axis=1),
        counted=items.titled,
        left_out={"filtered_out": items.filtered_out},
    )


def users_to_group(
    kind: Kind, items: DescribedItems, blocks: Iterable[np.ndarray], interactions: KnownInteractions
) -> Entities:
    """Users with at least one title that they liked, or disliked.

    Args:
      kind: "liked" or "disliked".
      items: the items.
      blocks: [items, width] for each kind of feature.
      interactions: the interactions; items are numbered as in `items`.
    """
    shown = items.titled[interactions.item_of_row] & (interactions.liked == (kind == "liked"))
    judged = pairs_matrix(
        interactions.user_of_row[shown],
        interactions.item_of_row[shown],
        (len(interactions.user_ids), len(items.ids)),
    )
    chosen = np.flatnonzero(np.diff(judged.indptr))
    judged = judged[chosen]
    return Entities(
        ids=interactions.user_ids.take(pa.array(chosen)),
        vectors=np.concatenate([user_vectors(judged, block) for block in blocks], axis=1),
        counted=np.ones(len(chosen), dtype=bool),
        left_out={f"without_{kind}_titles": len(interactions.user_ids) - len(chosen)},
    )


@dataclass(frozen=True)
class Material:
    """Known interactions and items.

    Attributes:
      known_interactions: interactions [0, k_u) of all users; items are numbered as in `items`.
      items: all items that `data.filter` leaves.
      records: records read of each input table.
      dead_letters: rejected records of both.
    """

    known_interactions: KnownInteractions
    items: DescribedItems
    records: dict[str, int]
    dead_letters: DeadLetterRuns


def read_material(
    scenario: Scenario,
    log: TableReader,
    catalogue: TableReader,
    folder: Path,
    dead_letters: DeadLetterRuns,
) -> Material:
    """Reads log and catalogue.

    Args:
      scenario: the scenario.
      log: reads the interactions.
      catalogue: reads the catalogue.
      folder: an existing folder; what is stored there on the way is removed again.
      dead_letters: takes rejected records.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch:
        shards = InteractionShards(scenario.data, log, Path(scratch), dead_letters)
        cap = scenario.split.knowledge_history_cap
        interactions = collect_known_interactions(shards.first_interactions(cap))
    collected, records = read_items(catalogue, scenario.data.catalogue, dead_letters)
    items = describe_items(
        collected.table, scenario.data.catalogue, interactions.item_ids, shards.kept_items
    )
    return Material(
        known_interactions=interactions.numbered_by(items.ids),
        items=items,
        records={"interactions": shards.records, "catalogue": records},
        dead_letters=dead_letters,
    )
