from __future__ import annotations

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from preprocessing.interactions.schema import write_schema


def test_the_text_format_is_read_back(tmp_path):
    write_schema(tmp_path / "schema.pbtxt", history_length=7)
    schema = text_format.Parse((tmp_path / "schema.pbtxt").read_text(), schema_pb2.Schema())
    features = {feature.name: feature for feature in schema.feature}
    assert len(features) == 12
    assert features["item_id"].type == schema_pb2.BYTES
    assert features["label"].type == schema_pb2.FLOAT
    assert features["timestamp"].type == schema_pb2.INT
    assert features["label"].shape.dim[0].size == 1
    assert features["label"].presence.min_fraction == 1.0
    assert features["history_rating"].value_count.max == 7
    assert not features["history_rating"].HasField("shape")
