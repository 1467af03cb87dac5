from __future__ import annotations

import pyarrow as pa

from configs.data import Split
from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.sequences import split_interactions
from preprocessing.interactions.shard import add_up, count_items, fold_matrices, items_of
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of


def statistics(user: str, ratings: dict[str, float]) -> pa.Table:
    rows = [(user, item, rating, time) for time, (item, rating) in enumerate(ratings.items())]
    sequences = sequences_of(interaction_table(*rows))
    return count_items(sequences, split_interactions(sequences, Split(knowledge_history_cap=0)))


def test_training_ratings_are_added_up_by_fold():
    # five interactions: four are training (0.8 * 5), the last one is test
    tables = [
        statistics("u", {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}),
        statistics("w", {"b": 0.5}),
    ]
    assert items_of(tables[0]).to_pylist() == ["a", "b", "c", "d", "e"]
    sums, counts = fold_matrices(add_up(tables, ["e", "b", "new", "a", "c", "d"]))
    assert sums.sum(axis=1).tolist() == [0.0, 2.5, 0.0, 1.0, 3.0, 4.0]
    assert counts.sum(axis=1).tolist() == [0, 2, 0, 1, 1, 1]
    first, second = user_folds(["u", "w"])
    assert first != second
    assert sums[1, first] == 2.0 and sums[1, second] == 0.5
    assert counts[1, first] == 1 and counts[1, second] == 1


def test_no_tables_give_zeros():
    sums, counts = fold_matrices(add_up([], ["a"]))
    assert sums.tolist() == [[0.0] * 10] and counts.tolist() == [[0] * 10]
