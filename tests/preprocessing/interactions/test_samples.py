from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import tensorflow as tf

from configs.data import RerankLists
from preprocessing.interactions.catalogue import ProfileColumns
from preprocessing.interactions.samples import (
    SAMPLED,
    CandidateLists,
    Candidates,
    CtrColumns,
    RerankColumns,
    RetrievalColumns,
    UserColumns,
    interactions_alone,
    user_folds,
)
from preprocessing.interactions.sequences import UserSequences
from preprocessing.records.contract import (
    EXAMPLE_FEATURES,
    FEATURES_OF_KIND,
    RERANK_FEATURES,
    RETRIEVAL_FEATURES,
)
from preprocessing.records.wire import Column, encode_examples
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

UNIVERSE = pa.array(["1", "2", "3", "8", "9"])


def log() -> UserSequences:
    return sequences_of(
        interaction_table(
            ("a", "1", 5.0, 1), ("a", "2", 1.0, 2), ("a", "3", 4.0, 3), ("b", "1", 2.0, 1)
        )
    )


def user_columns(sequences: UserSequences, history_length: int = 1) -> UserColumns:
    no_profiles = ProfileColumns(pa.table({"user": pa.array([], pa.string())}), sequences.users, {})
    return UserColumns(sequences, history_length, no_profiles)


def decoded(columns: Mapping[str, Column]) -> list[dict[str, list]]:
    rows = []
    for serialized in encode_examples(columns):
        features = tf.train.Example.FromString(serialized).features.feature
        rows.append(
            {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in features.items()
            }
        )
    return rows


def names(features: tuple) -> list[str]:
    return [feature.name for feature in features]


def test_examples_follow_the_order_of_their_numbers():
    sequences = log()
    rows = np.array([0, 2, 3])
    columns = CtrColumns(
        user_columns(sequences), sequences, rows, interactions_alone(sequences, rows), None
    )
    assert len(columns) == 3
    assert list(columns.of(np.array([0]))) == names(EXAMPLE_FEATURES)
    examples = decoded(columns.of(np.array([2, 1, 0])))
    assert [example["user_id"] for example in examples] == [[b"b"], [b"a"], [b"a"]]
    assert [example["item_id"] for example in examples] == [[b"1"], [b"3"], [b"1"]]
    assert [example["history_item_id"] for example in examples] == [[], [b"2"], []]
    assert [example["history_rating"] for example in examples] == [[], [1.0], []]
    assert [example["label"] for example in examples] == [[0.0], [1.0], [1.0]]
    assert [example["user_share_liked"] for example in examples] == [[0.0], [0.5], [0.0]]
    assert [example["user_mean_rating"] for example in examples] == [[0.0], [3.0], [0.0]]
    assert [example["timestamp"] for example in examples] == [[1], [3], [1]]
    assert [example["position"] for example in examples] == [[0], [2], [0]]


def test_a_sampled_negative_shares_everything_but_item_label_and_rating():
    sequences = log()
    candidates = Candidates(rows=np.array([2, SAMPLED, SAMPLED]), items=np.array([2, 4, 3]))
    history_rows = np.array([2, 2, 2])
    columns = CtrColumns(user_columns(sequences), sequences, history_rows, candidates, UNIVERSE)
    real, *sampled = decoded(columns.of(np.arange(3)))
    assert (real["item_id"], real["label"], real["rating"]) == ([b"3"], [1.0], [4.0])
    for example, item in zip(sampled, (b"9", b"8"), strict=True):
        assert example == {**real, "item_id": [item], "label": [0.0], "rating": [0.0]}


def test_lists_of_candidates_start_from_their_first_interaction():
    sequences = log()
    lists = CandidateLists(
        first_rows=np.array([1, 3]),
        starts=np.array([0, 3]),
        ends=np.array([3, 4]),
        candidates=Candidates(rows=np.array([SAMPLED, 2, 1, 3]), items=np.array([4, 2, 1, 0])),
        missing=RerankLists().length,
    )
    columns = RerankColumns(user_columns(sequences), sequences, lists, UNIVERSE)
    assert len(columns) == 2
    assert list(columns.of(np.array([0]))) == names(RERANK_FEATURES)
    second, first = decoded(columns.of(np.array([1, 0])))
    assert first["item_id"] == [b"9", b"3", b"2"]
    assert first["label"] == [0.0, 1.0, 0.0] and first["rating"] == [0.0, 4.0, 1.0]
    assert first["history_item_id"] == [b"1"] and first["user_share_liked"] == [1.0]
    assert first["position"] == [1] and first["timestamp"] == [2]
    assert second["item_id"] == [b"1"] and second["user_id"] == [b"b"]


def test_retrieval_examples_name_an_item_and_no_label():
    sequences = log()
    columns = RetrievalColumns(user_columns(sequences), sequences, np.array([0, 2]))
    assert len(columns) == 2
    assert list(columns.of(np.array([0]))) == names(RETRIEVAL_FEATURES)
    (example,) = decoded(columns.of(np.array([1])))
    assert example["item_id"] == [b"3"] and example["history_item_id"] == [b"2"]


def test_every_kind_of_example_has_the_features_of_its_contract():
    assert set(FEATURES_OF_KIND) == {"ctr", "rerank", "retrieval"}
    for features in FEATURES_OF_KIND.values():
        assert len(set(names(features))) == len(features)


def test_folds_are_even_and_never_change():
    folds = user_folds([str(user) for user in range(5000)])
    assert folds.min() == 0 and folds.max() == 9
    assert np.bincount(folds).min() > 400
    # blake2b-64 of the id under the key "fold", modulo 10, written down once
    assert user_folds(["1", "2", "ann", "Größe"]).tolist() == [2, 5, 8, 7]
