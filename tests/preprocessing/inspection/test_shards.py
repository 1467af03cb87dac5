from __future__ import annotations

from preprocessing.inspection.findings import Findings
from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.inspection.record_checks import Example, ShardReader, complete_shards
from preprocessing.records.contract import FeatureType
from preprocessing.records.tfrecord_file import write_records

SCHEMA = {"id": SchemaFeature(FeatureType.INT64, 1, 1)}


def serialized(*ids: int) -> list[bytes]:
    records = []
    for number in ids:
        example = Example()
        example.features.feature["id"].int64_list.value.append(number)
        records.append(example.SerializeToString())
    return records


def test_sound_records_come_and_others_are_told(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    first, second = serialized(7, 8)
    write_records(path, [first, b"\xff", second])
    findings = Findings()
    reader = ShardReader(SCHEMA, findings)
    read = [(place, list(record["id"])) for place, record in reader.records(path, "part", 3)]
    assert read == [(1, [7]), (3, [8])]
    assert [(f.check, f.record) for f in findings.kept()] == [("unreadable_record", 2)]
    list(reader.records(path, "part", 4))
    assert "holds 3 records, the manifest counts 4" in findings.kept()[-1].message


def test_damage_ends_the_file_and_is_told_with_its_place(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, serialized(*range(5000)))
    path.write_bytes(path.read_bytes()[:-2000])
    findings = Findings()
    read = list(ShardReader(SCHEMA, findings).records(path, "part", 5000))
    (finding,) = findings.kept()
    assert 0 < len(read) < 5000 and finding.record == len(read) + 1
    assert finding.check == "damaged_file" and str(tmp_path) not in finding.message
    assert "cut off" in finding.message and "--force" not in finding.message


def test_a_set_of_shards_must_be_whole(tmp_path):
    findings = Findings()
    assert complete_shards(tmp_path, "train", findings) == []
    for name in ("part-00000-of-00003.tfrecord.gz", "part-00002-of-00003.tfrecord.gz"):
        write_records(tmp_path / name, [])
    assert len(complete_shards(tmp_path, "train", findings)) == 2
    assert findings.by_check() == {"incomplete_shards": 2}
