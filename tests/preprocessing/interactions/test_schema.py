from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from configs.data import Data
from preprocessing.interactions.shard import write_schema
from preprocessing.records.contract import features_of

DATA = Data.model_validate(
    {
        "interactions": {"path": "i.csv"},
        "catalogue": {"path": "c.csv"},
        "history_length": 7,
        "rerank": {"length": 5},
        "profiles": {
            "path": "p.csv",
            "attributes": {
                "jobs": {"kind": "categorical", "separator": "|"},
                "gender": {"kind": "categorical"},
                "age": {"kind": "numeric"},
            },
        },
    }
)


def read_back(folder: Path, kind: str) -> dict[str, schema_pb2.Feature]:
    path = folder / "schema.pbtxt"
    write_schema(path, features_of(kind, DATA), DATA)
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return {feature.name: feature for feature in schema.feature}


def test_the_text_format_is_read_back(tmp_path):
    features = read_back(tmp_path, "ctr")
    assert len(features) == 12 + 3
    assert features["item_id"].type == schema_pb2.BYTES
    assert features["label"].type == schema_pb2.FLOAT
    assert features["timestamp"].type == schema_pb2.INT
    assert features["label"].shape.dim[0].size == 1
    assert features["label"].presence.min_fraction == 1.0
    assert features["history_rating"].value_count.max == 7
    assert not features["history_rating"].HasField("shape")


def test_lists_of_candidates_are_as_long_as_configured(tmp_path):
    features = read_back(tmp_path, "rerank")
    for name in ("item_id", "label", "rating"):
        assert features[name].value_count.max == 5 and not features[name].HasField("shape")
    assert features["history_item_id"].value_count.max == 7
    retrieval = read_back(tmp_path, "retrieval")
    assert "label" not in retrieval and retrieval["item_id"].shape.dim[0].size == 1


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_profiles_belong_to_every_kind(tmp_path, kind):
    features = read_back(tmp_path, kind)
    assert features["profile_jobs"].type == features["profile_gender"].type == schema_pb2.BYTES
    assert features["profile_age"].type == schema_pb2.FLOAT
    assert not features["profile_jobs"].value_count.HasField("max")
    assert features["profile_age"].value_count.max == 1
