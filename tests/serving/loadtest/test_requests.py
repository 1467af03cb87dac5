from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from configs.command_line import CommandError
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import read_records, write_records
from serving.client.errors import ModelAddress
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, ModelInputs
from serving.loadtest.requests import (
    requests_of_examples,
    requests_of_file,
    serialized_requests,
    synthetic_requests,
)
from serving.protocol.messages import predict_pb2
from tests.scenarios import CITIES, ITEMS, copied_scenario, rich_scenario

SOURCE = synthetic_requests(users=10, items=20, count=3, seed=1)
ADDRESS = ModelAddress("h:1", "movies", None, "stable")


def parsed(signature: str, known: ModelInputs = STRINGS_WITHOUT_PROFILE, seed: int = 1) -> list:
    requests = serialized_requests(ADDRESS, known, SOURCE, signature, 4, seed)
    return [predict_pb2.PredictRequest.FromString(request) for request in requests]


def test_a_signature_of_rows_gets_the_same_candidates_with_the_user_repeated() -> None:
    ranked, rows = parsed("rank"), parsed("serving_default")
    assert len(ranked) == len(rows) == 3
    for one, other, user in zip(ranked, rows, SOURCE.users, strict=True):
        assert one.model_spec.version_label == other.model_spec.version_label == "stable"
        assert one.model_spec.signature_name == "rank"
        assert other.model_spec.signature_name == "serving_default"
        items = tf.make_ndarray(one.inputs["item_id"]).tolist()
        assert len(set(items)) == 4
        assert tf.make_ndarray(other.inputs["item_id"]).tolist() == items
        assert tf.make_ndarray(one.inputs["user_id"]).tolist() == [user.user_id.encode()]
        assert tf.make_ndarray(other.inputs["user_id"]).tolist() == [user.user_id.encode()] * 4
        assert tf.make_ndarray(other.inputs["history_rating"]).shape == (4, 30)


def test_candidates_follow_the_seed() -> None:
    assert parsed("rank") == parsed("rank")
    assert parsed("rank") != parsed("rank", seed=2)


def test_whole_numbers_are_sent_where_the_model_has_them() -> None:
    (request, *_) = parsed("rank", ModelInputs(integers=frozenset({"item_id"})))
    assert tf.make_ndarray(request.inputs["item_id"]).dtype == "int64"


def test_requests_of_a_file_keep_their_candidates(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    lines = [
        {"user_id": 7, "candidates": ["a", "b"], "history_item_id": ["h"], "history_rating": [4]},
        {"user_id": "8"},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines) + "\n")
    source = requests_of_file(str(path), positive_rating=4.0)
    assert [user.user_id for user in source.users] == ["7", "8"]
    assert source.users[0].user_mean_rating == 4.0
    assert source.users[0].user_share_liked == 1.0
    strict = requests_of_file(str(path), positive_rating=4.5)
    assert strict.users[0].user_share_liked == 0.0
    generator = np.random.default_rng(0)
    assert source.candidates_of(0, 1, generator) == ["a"]
    filled = source.candidates_of(0, 4, generator)
    assert filled[:2] == ["a", "b"] and set(filled[2:]) <= {"a", "b", "h"}
    # More than there are: items repeat.
    assert len(source.candidates_of(1, 50, generator)) == 50


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"user_id": 1, "candidates": ["a"]}\n{', "line 2: "),
        ('{"user_id": 1, "candidates": ["a"]}\n{"user": 1}', "line 2: field 'user' is not known"),
        ('{"user_id": 1}', "no request names an item"),
        ("", "no request names an item"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(text)
    with pytest.raises(CommandError, match=f"requests.jsonl.*{reason}"):
        requests_of_file(str(path), positive_rating=4.0)


def test_users_of_examples_are_as_at_their_first_sample() -> None:
    scenario = rich_scenario()
    source = requests_of_examples(str(scenario.work_dir), count=4)
    shards = WorkDirectory(scenario.work_dir).examples.shards("test")
    (batch,) = example_dataset(shards, 100_000).take(1)
    expected: dict[str, int] = {}
    for row, user in enumerate(batch["user_id"].numpy()):
        expected.setdefault(user.decode(), row)
    assert [user.user_id for user in source.users] == list(expected)[:4]
    for user in source.users:
        row = expected[str(user.user_id)]
        history = [item.decode() for item in batch["history_item_id"].numpy()[row] if item]
        assert list(user.history_item_id) == history
        ratings = batch["history_rating"].numpy()[row][: len(history)]
        np.testing.assert_array_equal(np.float32(user.history_rating), ratings)
        assert np.float32(user.user_log_count) == batch["user_log_count"].numpy()[row]
        assert set(user.profile) <= {"city", "age"}
        assert set(user.profile.get("city", [])) <= set(CITIES) | {"Atlantis"}
    assert any(user.profile for user in source.users)
    assert set(ITEMS) <= set(source.items)
    drawn = source.candidates_of(0, len(source.items), np.random.default_rng(1))
    assert sorted(drawn) == sorted(source.items)


def test_a_run_leads_to_its_examples(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no TFRecord files"):
        requests_of_examples(str(tmp_path), count=2)
    scenario = rich_scenario()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(scenario.model_dump(mode="json")))
    run_requests = requests_of_examples(str(tmp_path), count=2)
    assert run_requests.users == requests_of_examples(str(scenario.work_dir), count=2).users


def test_made_up_requests_stay_within_their_ids() -> None:
    source = synthetic_requests(users=3, items=5, count=50, seed=1)
    assert {user.user_id for user in source.users} == {"1", "2", "3"}
    named = {item for user in source.users for item in user.history_item_id}
    assert named == {"1", "2", "3", "4", "5"}
    assert sorted(source.candidates_of(0, 5, np.random.default_rng(0))) == [1, 2, 3, 4, 5]
    assert synthetic_requests(3, 5, 50, seed=1) == source
    assert synthetic_requests(3, 5, 50, seed=2).users != source.users


@pytest.mark.parametrize("damaged", [b"\xff\xff\xff", b""])
def test_a_record_that_no_request_can_be_made_from_is_named(tmp_path: Path, damaged: bytes) -> None:
    work_dir = copied_scenario(tmp_path).work_dir
    shard = WorkDirectory(work_dir).examples.shards("test")[0]
    write_records(shard, [next(iter(read_records(shard))), damaged])
    with pytest.raises(CommandError, match=f"{shard}: record 2: not an example"):
        requests_of_examples(work_dir, count=2)
