"""Sources for comparison, made from the log: random and collaborative vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
from scipy.special import ndtri
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from configs.command_line import CommandError, say
from configs.data import CatalogueTable
from configs.knowledge import CollaborativeVectors
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.beam_options import BeamOptions
from preprocessing.dead_letters import DeadLetterRuns, merge_runs, read_dead_letters
from preprocessing.interactions.catalogue import read_items
from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.shard import LogPlan, shards_of_log
from preprocessing.interactions.training_log import TrainingLog, read_training_log
from preprocessing.knowledge.accepting import entity_shard
from preprocessing.knowledge.entity_vectors import (
    ShardStatistics,
    shard_statistics,
    with_counts,
    write_vector_statistics,
)
from preprocessing.knowledge.source_plan import SourceTables
from preprocessing.knowledge.vectors import NUMBER, KnowledgeRecord, round_vectors, write_knowledge
from preprocessing.records.contract import INDIVIDUAL, USER_FOLDS
from preprocessing.records.hashing import mixed, stable_hashes, unit_interval
from preprocessing.records.layout import (
    DEAD_LETTERS_FILE,
    VECTOR_STATISTICS_FILE,
    fold_folder,
    shard_name,
)
from preprocessing.tables.table_reader import TableReader

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_HALF_STEP = 2.0**-54


def random_vectors(entity_ids: Sequence[str], dimension: int, seed: int) -> np.ndarray:
    """Standard normal vectors, each a function of the seed and its own id.

    The hash of an id seeds SplitMix64, whose outputs become normal numbers by the inverse of the
    normal distribution. So more entities, or others, change no vector.

    Args:
      entity_ids: ids of items or users.
      dimension: numbers of a vector.
      seed: other seeds give other vectors.

    Returns:
      [entities, dimension] float16.
    """
    start = stable_hashes(entity_ids, f"random {seed}")[:, np.newaxis]
    steps = np.arange(dimension, dtype=np.uint64) * _GOLDEN_GAMMA
    return ndtri(unit_interval(mixed(start + steps)) + _HALF_STEP).astype(NUMBER)


_POWER_ITERATIONS = 7
_SHRINKAGE = 5.0
_WEIGHT_OF_RATINGS = 0.5


def collaborative_vectors(
    log: TrainingLog, settings: CollaborativeVectors
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vectors from all users, then without each fold's users, in the order of the folds.

    The matrix is in the memory of this process, which needs about 150 bytes for a training
    interaction while it is made; beside it lies one set of vectors.

    Args:
      log: training interactions.
      settings: width and seed.

    Yields:
      [items, dimension] float16, and [items] True for the items that have a vector; the others,
      those without a training interaction, are zeros.
    """
    fold_of_row = user_folds(log.users)[log.user_of_row]
    for fold in (None, *range(USER_FOLDS)):
        rows = np.ones(len(fold_of_row), bool) if fold is None else fold_of_row != fold
        matrix = stacked_matrix(
            log.user_of_row[rows], log.item_of_row[rows], log.ratings[rows], len(log.items)
        )
        yield round_vectors(item_vectors(matrix, settings))


def stacked_matrix(
    user_of_row: np.ndarray, item_of_row: np.ndarray, ratings: np.ndarray, items: int
) -> scipy.sparse.csr_matrix:
    """The matrix M whose right singular vectors items get: for each user u a row of C and one of R.

    C_ui = log(1 + users / users of item i) / sqrt(items of u) where u used i, R_ui is the rating
    less the mean and the shrunk biases of item and user. C has the norm sqrt(used items), R half of
    it; R is left out when all ratings are alike. The two rows of a user follow each other: a
    product that has just read what belongs to the user's items finds it in the processor's cache.

    Args:
      user_of_row: [rows] numbers of users; only which of them are equal matters.
      item_of_row: [rows] numbers of items below `items`.
      ratings: [rows]; interactions of one user with one item count as one, with their mean.
      items: number of items.
    """
    cells = user_of_row.astype(np.int64) * items + item_of_row
    order = np.argsort(cells, kind="stable")
    cells, cell_of_row = _numbered(cells[order])
    users, user = _numbered(cells // items)
    item = cells % items
    rating = np.bincount(cell_of_row, ratings[order]) / np.bincount(cell_of_row)
    users_of_item = np.bincount(item, minlength=items)
    items_of_user = np.bincount(user)
    used = np.log1p(len(users) / users_of_item[item]) / np.sqrt(items_of_user[user])
    halves = [(used, 1.0)]
    if len(rating) and np.ptp(rating) > 0:
        mean = rating.mean()
        item_bias = np.bincount(item, rating - mean, items) / (users_of_item + _SHRINKAGE)
        rest = rating - mean - item_bias[item]
        user_bias = np.bincount(user, rest) / (items_of_user + _SHRINKAGE)
        halves.append((rest - user_bias[user], _WEIGHT_OF_RATINGS))
    scale = np.sqrt(np.count_nonzero(users_of_item))
    lengths = np.repeat(items_of_user, len(halves))
    starts = np.r_[0, np.cumsum(lengths)]
    columns = np.empty(len(halves) * len(item), np.int32)
    entries = np.empty(len(columns))
    own = np.arange(len(item)) - np.r_[0, np.cumsum(items_of_user)][user]
    for half, (values, weight) in enumerate(halves):
        places = starts[len(halves) * user + half] + own
        columns[places] = item
        entries[places] = weight * scale * values / np.linalg.norm(values)
    return scipy.sparse.csr_matrix(
        (entries, columns, starts), shape=(len(halves) * len(users), items)
    )


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ones of ascending whole numbers from 0, and which of them each value is."""
    is_first = np.diff(values, prepend=-1) != 0
    return values[is_first], np.cumsum(is_first) - 1


def item_vectors(matrix: scipy.sparse.csr_matrix, settings: CollaborativeVectors) -> np.ndarray:
    """Rows of V S of the truncated SVD, [items, dimension]; filled up with zeros.

    Signs are fixed and the seed is given, so that equal matrices give equal vectors.

    Args:
      matrix: any number of rows, a column for each item.
      settings: width and seed.
    """
    vectors = np.zeros((matrix.shape[1], settings.dimension))
    components = min(settings.dimension, *matrix.shape)
    if components:
        # One thread: the number of cores decides no bit, and sparse products do not use more.
        with threadpool_limits(1):
            _, singular, right = randomized_svd(
                matrix, components, n_iter=_POWER_ITERATIONS, random_state=settings.seed
            )
        vectors[:, :components] = right.T * singular
        vectors[np.bincount(matrix.indices, minlength=len(vectors)) == 0] = 0
    return vectors


_CATALOGUE_LETTERS = "catalogue.jsonl"


@dataclass
class MadeVectors:
    """What was written.

    Attributes:
      shards: number and records of each file.
      vectors: widths and norms, for the manifest.
      entities_without_vector: items or users of the log that have none.
      tables: counts of the tables that were read, by name.
      folds: fold -> number and records of each file.
    """

    shards: list[dict[str, int]]
    vectors: dict[str, Any]
    entities_without_vector: int
    tables: dict[str, dict[str, Any]]
    folds: dict[int, list[dict[str, int]]] = field(default_factory=dict)


def make_vectors(
    scenario: Scenario,
    source: str,
    tables: SourceTables,
    beam: BeamOptions,
    folder: str,
    scratch: str,
) -> MadeVectors:
    """Writes vectors, statistics and dead letters of a source.

    Args:
      scenario: the scenario.
      source: a source with `random` or `collaborative`.
      tables: its tables.
      beam: runner and options.
      folder: where the files belong; a path or URL that all workers see.
      scratch: a folder for files on the way there, seen by all workers, too.

    Raises:
      CommandError: no entity has a vector.
    """
    answers = scenario.knowledge.answers[source]
    assert tables.interactions is not None
    shards_to_read = shards_of_log(tables.interactions, scenario.data)
    plan = LogPlan(scenario.data, scenario.split, tables.interactions, shards_to_read, scratch)
    read = read_training_log(plan, beam)
    counts = {"interactions": read.counts}
    letters = [read.dead_letters]
    if answers.random is not None:
        ids = read.log.users if answers.entity == "user" else read.log.items
        if tables.catalogue is not None and tables.described is not None:
            letters.append(storage.join(scratch, _CATALOGUE_LETTERS))
            catalogue_ids, counts["catalogue"] = _catalogue_ids(
                tables.catalogue, tables.described, letters[-1]
            )
            ids = sorted({*ids, *catalogue_ids})
        settings = answers.random
        made = _write_all(
            folder,
            scenario.knowledge.shards,
            ids,
            lambda rows: random_vectors(
                [ids[row] for row in rows], settings.dimension, settings.seed
            ),
            source,
        )
    else:
        made = _write_collaborative(scenario, source, read.log, folder)
    made.tables = counts
    merge_runs(letters, storage.join(folder, DEAD_LETTERS_FILE), scratch)
    return made


def _catalogue_ids(
    reader: TableReader, catalogue: CatalogueTable, dead_letters_path: str
) -> tuple[list[str], dict[str, Any]]:
    """The item ids of the catalogue, each once, and counts of its rows.

    Args:
      reader: reads the catalogue.
      catalogue: its configuration.
      dead_letters_path: JSON lines file for rejected rows.
    """
    letters = DeadLetterRuns(f"{dead_letters_path}.runs")
    items, read = read_items(reader, catalogue, letters)
    letters.write(dead_letters_path)
    reasons = Counter(letter["reason"] for letter in read_dead_letters(dead_letters_path))
    return items.ids, {
        "records_in": read,
        "records_out": len(items.ids),
        "dead_letters": reasons.total(),
        "rejected_by_reason": dict(sorted(reasons.items())),
    }


def _write_collaborative(
    scenario: Scenario, source: str, log: TrainingLog, folder: str
) -> MadeVectors:
    settings = scenario.knowledge.answers[source].collaborative
    assert settings is not None
    shards, made, in_catalogue = scenario.knowledge.shards, None, np.ones(len(log.items), bool)
    for number, (vectors, good) in enumerate(collaborative_vectors(log, settings)):
        rows = np.flatnonzero(good & in_catalogue)
        ids = [log.items[row] for row in rows]
        chosen = vectors[rows]
        if made is None:
            in_catalogue = good
            components = int(chosen.any(axis=0).sum())
            if 0 < components < settings.dimension:
                say(
                    f"encode {source}: the training interactions hold {components} components; "
                    f"the vectors are filled up with zeros to width {settings.dimension}"
                )
            made = _write_all(folder, shards, ids, chosen.__getitem__, source)
            made.entities_without_vector = len(log.items) - len(ids)
            continue
        fold = number - 1
        fold_path = storage.join(folder, fold_folder(fold))
        made.folds[fold] = write_shards(fold_path, shards, ids, chosen.__getitem__)[0]
    assert made is not None
    return made


def _write_all(
    folder: str,
    shards: int,
    ids: Sequence[str],
    vectors_of: Callable[[np.ndarray], np.ndarray],
    source: str,
) -> MadeVectors:
    """Writes vectors and their statistics.

    Raises:
      CommandError: there is no vector.
    """
    if not ids:
        raise CommandError(
            f"knowledge.answers.{source}: the log leaves nothing to make vectors from; look at "
            "data.filter and split"
        )
    counts, statistics = write_shards(folder, shards, ids, vectors_of)
    path = storage.join(folder, VECTOR_STATISTICS_FILE)
    return MadeVectors(counts, write_vector_statistics(path, statistics), 0, {})


def write_shards(
    folder: str,
    shards: int,
    ids: Sequence[str],
    vectors_of: Callable[[np.ndarray], np.ndarray],
) -> tuple[list[dict[str, int]], list[ShardStatistics]]:
    """Writes TFRecord files, one after the other.

    Args:
      folder: where they belong, a path or URL.
      shards: number of files.
      ids: entities with a vector.
      vectors_of: gives vectors, [chosen, dimension] float16, for numbers of entities.

    Returns:
      Number and records of each file, and statistics of those with records.
    """
    shard_of_entity = np.array([entity_shard(entity_id, shards) for entity_id in ids], dtype=int)
    counts, statistics = [], []
    for shard in range(shards):
        chosen = np.flatnonzero(shard_of_entity == shard)
        records = [
            KnowledgeRecord(ids[row], INDIVIDUAL, "", vector.tobytes())
            for row, vector in zip(chosen.tolist(), vectors_of(chosen), strict=True)
        ]
        written = write_knowledge(storage.join(folder, shard_name(shard, shards)), records)
        counts.append({"shard": shard, "records": len(written)})
        if written:
            statistics.append(shard_statistics(shard, written))
    return counts, statistics


def describe_made_vectors(made: MadeVectors) -> dict[str, Any]:
    """The source's part of the manifest; records that were read are counted by table."""
    records = sum(shard["records"] for shard in made.shards)
    counts = {
        "records_in": records,
        "records_out": records,
        "dead_letters": 0,
        "other_sources": 0,
        "rejected_by_reason": {},
        "knowledge_records": records,
        "individual_entities": records,
        "collective_entities": 0,
        "entities_without_answer": made.entities_without_vector,
        **made.tables,
    }
    folds = [
        {"fold": fold, "records": sum(shard["records"] for shard in shards), "shards": shards}
        for fold, shards in made.folds.items()
    ]
    described = with_counts(counts, None, made.vectors, made.shards)
    return {**described, "folds": folds} if folds else described
