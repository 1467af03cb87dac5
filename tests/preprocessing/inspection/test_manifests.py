from __future__ import annotations

from preprocessing.inspection.findings import number, records_of_shard, section


def test_parts_of_another_shape_are_absent():
    manifest = {"counts": {"a": 3, "b": True, "c": "3"}, "shards": 5}
    counts = section(manifest, "counts")
    assert [number(counts, name) for name in "abcd"] == [3, None, None, None]
    assert section(manifest, "shards") == section(manifest, "none") == {}
    assert records_of_shard(manifest, "part-00000-of-00001.tfrecord.gz", "records") is None


def test_records_of_a_shard_by_its_name():
    manifest = {"shards": [{"examples": {"ctr": {"test": 4}}}, {"examples": 3}]}
    path = ("examples", "ctr", "test")
    assert records_of_shard(manifest, "part-00000-of-00002.tfrecord.gz", *path) == 4
    assert records_of_shard(manifest, "part-00001-of-00002.tfrecord.gz", *path) is None
    assert records_of_shard(manifest, "part-00000-of-00003.tfrecord.gz", *path) is None
