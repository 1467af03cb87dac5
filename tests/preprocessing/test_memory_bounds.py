"""What steps hold of whole tables in one process, in bytes for each row, item or user.

Each bound is the one that docs/scale.md, or the page that it leads to, states.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from configs.data import CatalogueTable
from configs.knowledge import CollaborativeVectors, Links
from examples.synthetic import LINKS, SyntheticLog
from preprocessing.answers.record import Location
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.grouping.entities import (
    KnownInteractions,
    collect_known_interactions,
    entity_digests,
)
from preprocessing.grouping.features import co_occurrence_weights, embed
from preprocessing.grouping.tree import bisect
from preprocessing.interactions.catalogue import open_catalogue, read_items
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.interactions.training_log import TrainingLog
from preprocessing.knowledge.control_vectors import collaborative_vectors
from preprocessing.links.linking import NamesOfAnswers, TitleCatalogue, link_names
from preprocessing.links.spectral import LinkGraph, link_graph, spectral_vectors
from preprocessing.links.titles import TitleIndex
from tests.memory import held_for_each

Work = Callable[[], object]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Blocks of rows are worked on one after the other, so that equal runs hold equally much."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with threadpool_limits(1):
            yield
    finally:
        os.sched_setaffinity(0, cores)


# --- collaborative vectors

DIMENSION = 16
EXTRA = 10
"""Vectors beyond those asked for in a randomized SVD."""


def training_log(rows: int, users: int, items: int) -> TrainingLog:
    random = np.random.default_rng(1)
    return TrainingLog(
        users=[f"u{number}" for number in range(users)],
        items=[f"i{number}" for number in range(items)],
        user_of_row=np.sort(random.integers(0, users, rows)).astype(np.int32),
        item_of_row=random.integers(0, items, rows).astype(np.int32),
        ratings=random.integers(1, 11, rows) / 2,
    )


def first_vectors(log: TrainingLog) -> Work:
    return lambda: next(collaborative_vectors(log, CollaborativeVectors(dimension=DIMENSION)))


def test_collaborative_vectors() -> None:
    wide = 8 * (DIMENSION + EXTRA)
    of_row = held_for_each(lambda n: first_vectors(training_log(n, 2000, 1000)), 50_000, 150_000)
    of_user = held_for_each(lambda n: first_vectors(training_log(40_000, n, 1000)), 4000, 8000)
    of_item = held_for_each(lambda n: first_vectors(training_log(40_000, 4000, n)), 1000, 5000)
    assert 50 < of_row < 150
    # Two rows of the matrix for each user, which is used or not, and rated.
    assert 2 * wide < of_user < 8 * wide + 100
    assert wide < of_item < 2 * wide + 100


# --- groups


def known_shards(rows: int, users: int, items: int, shards: int) -> Iterator[FirstInteractions]:
    random = np.random.default_rng(1)
    for shard in range(shards):
        yield FirstInteractions(
            users=[f"{shard}-{number}" for number in range(users // shards)],
            user_of_row=np.sort(random.integers(0, users // shards, rows // shards)),
            items=[str(number) for number in random.integers(0, items, rows // shards)],
            ratings=np.ones(rows // shards),
            liked=random.random(rows // shards) < 0.5,
        )


def known(rows: int, users: int, items: int) -> KnownInteractions:
    return collect_known_interactions(known_shards(rows, users, items, shards=1))


def test_known_interactions() -> None:
    def joined(shards: int) -> Work:
        # As many rows in a shard, so that what one of them takes does not count.
        several = known_shards(5000 * shards, 40 * shards, 500, shards)
        return lambda: collect_known_interactions(several)

    held = held_for_each(joined, 10, 40) / 5000
    together = joined(10)()
    assert isinstance(together, KnownInteractions)
    columns = together.user_of_row, together.item_of_row, together.liked
    assert sum(column.nbytes for column in columns) == 9 * 50_000
    assert 9 < held < 15


def test_digests_of_groups() -> None:
    def digests(interactions: KnownInteractions) -> Work:
        return lambda: entity_digests("item", interactions.item_ids, interactions)

    def rows(count: int) -> Work:
        few = known(1000, 100, 100)
        columns = few.user_of_row, few.item_of_row, few.liked
        return digests(
            KnownInteractions(
                few.user_ids, few.item_ids, *(np.repeat(of, count // 1000) for of in columns)
            )
        )

    # A million rows at a time.
    assert held_for_each(rows, 1_100_000, 1_500_000) < 2
    assert held_for_each(lambda n: digests(known(20_000, n, 500)), 4000, 16_000) < 24
    assert held_for_each(lambda n: digests(known(60_000, 400, n)), 4000, 12_000) < 90


def test_features_of_groups() -> None:
    def weights(rows: int, users: int, items: int) -> Callable[[], object]:
        pairs = known(rows, users, items)
        return lambda: co_occurrence_weights(pairs.item_of_row, pairs.user_of_row, items, users)

    def vectors(users: int, items: int) -> Work:
        matrix = weights(60_000, users, items)()
        return lambda: embed(matrix, DIMENSION, seed=0)  # type: ignore[arg-type]

    assert held_for_each(lambda n: weights(n, 2000, 1000), 20_000, 60_000) < 24
    wide = 4 * (DIMENSION + EXTRA)
    assert wide < held_for_each(lambda n: vectors(n, 1000), 4000, 12_000) < 5 * wide
    assert wide < held_for_each(lambda n: vectors(1000, n), 4000, 12_000) < 5 * wide


def test_tree_of_groups() -> None:
    width = 32

    def tree(items: int) -> Work:
        vectors = np.random.default_rng(1).standard_normal((items, width), np.float32)
        return lambda: bisect(vectors, np.ones(items, bool), maximum=400, minimum=100, seed=0)

    # A copy of the vectors, which are cut where they lie.
    assert held_for_each(tree, 5000, 20_000) < 4 * width + 45


# --- links


def titles(items: int) -> pa.Array:
    return SyntheticLog(1, 1, items).titles(np.arange(items))


def test_index_of_titles() -> None:
    def index(items: int) -> Work:
        of_items = titles(items)
        return lambda: TitleIndex(of_items)

    letters = len("".join(titles(1000).to_pylist())) / 1000
    assert 18 < letters < 24
    assert 500 < held_for_each(index, 4000, 16_000) < 100 * letters


def test_names_of_answers() -> None:
    items = 1000
    ids = pa.array([str(number) for number in range(items)])
    catalogue = TitleCatalogue(ids, titles(items), np.full(items, np.nan))

    def linking(answers: int) -> Work:
        names = NamesOfAnswers()
        for number in range(answers):
            said = [f"Name {number % 500}{letter}" for letter in "abcdefghij"]
            names.add(str(number), Location("answers", number), {"links": said}, {"links": LINKS})
        return lambda: link_names(names, catalogue, Links())

    assert held_for_each(linking, 1000, 3000) / LINKS < 150


def graph(items: int) -> LinkGraph:
    item, linked = SyntheticLog(1, 1, items).links(np.arange(items))
    ids = pa.array([str(number) for number in range(items)])
    return link_graph(ids, [], item, linked, np.tile(np.arange(LINKS), items))


@pytest.mark.parametrize("width", [32, 160])
def test_link_vectors(width: int) -> None:
    def vectors(items: int) -> Work:
        of_items = graph(items)
        return lambda: spectral_vectors(of_items, width, maximum_products=1)

    entries = graph(4000).weights.nnz / 4000
    held = held_for_each(vectors, 17_000, 25_000)
    assert 4 * width < held < max(4 * (width + 160), 8 * (width + 16)) + 24 * entries


# --- the catalogue


def test_catalogue(tmp_path: Path) -> None:
    columns = {"genres": {"kind": "categorical", "separator": "|"}, "year": {"kind": "numeric"}}
    held_by_table = {}

    def reading(items: int) -> Work:
        path = tmp_path / f"{items}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["item_id", "title", *columns])
            for number in range(items):
                rows.writerow([number, f"A title of number {number:06}", "Drama|Comedy", 1990])
        catalogue = CatalogueTable.model_validate({"path": str(path), "attributes": columns})

        def read() -> None:
            letters = DeadLetterRuns(str(tmp_path / "letters"))
            read_items_, records = read_items(open_catalogue(catalogue), catalogue, letters)
            assert records == items
            held_by_table[items] = read_items_.table.nbytes / items

        return read

    held = held_for_each(reading, 100_000, 200_000)
    assert held_by_table[200_000] < held < 2 * held_by_table[200_000] + 200
