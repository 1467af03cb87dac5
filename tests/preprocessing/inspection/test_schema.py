from __future__ import annotations

import pytest

from preprocessing.inspection.inspect import SchemaFeature, read_schema
from preprocessing.records.contract import DamagedRecords, FeatureType

TEXT = """
feature { name: "id" type: BYTES presence { min_count: 1 } shape { dim { size: 1 } } }
feature { name: "history" type: FLOAT value_count { min: 0 max: 200 } }
feature { name: "tags" type: INT value_count { min: 1 } }
feature { name: "matrix" type: FLOAT shape { dim { size: 2 } dim { size: 3 } } }
"""


def test_types_and_counts(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_text(TEXT)
    schema = read_schema(path)
    assert schema == {
        "id": SchemaFeature(FeatureType.BYTES, 1, 1),
        "history": SchemaFeature(FeatureType.FLOAT, 0, 200),
        "tags": SchemaFeature(FeatureType.INT64, 1, None),
        "matrix": SchemaFeature(FeatureType.FLOAT, 6, 6),
    }
    counts = [feature.count for feature in schema.values()]
    assert counts == ["1", "0 to 200", "1 to any number", "6"]


@pytest.mark.parametrize("text", ["feature { nam: 3 }", 'feature { name: "x" type: STRUCT }', None])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "schema.pbtxt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DamagedRecords, match="schema.pbtxt: not a schema of examples"):
        read_schema(path)
