from __future__ import annotations

import tensorflow as tf

from serving.client.errors import ModelAddress
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, ModelInputs
from serving.loadtest.requests import made_up_requests, serialized_requests
from serving.protocol.messages import predict_pb2

SOURCE = made_up_requests(users=10, items=20, count=3, seed=1)
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
